"""Where the project and the real data stand; the tests pass without the latter, too."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data" / "mvsa"
