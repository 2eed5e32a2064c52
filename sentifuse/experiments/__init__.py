"""Many runs: ranked, compared, and kept in order with DVC."""
