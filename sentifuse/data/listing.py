"""What a raw data set lists, whichever layout it has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sentifuse.data.label_rows import LabelTable


@dataclass(frozen=True)
class Input:
    """The image or the text of a sample, as it is listed.

    Attributes:
        location: as of `locations`; empty if there is none.
        where: the same for people, such as the path of a file, or the row of a table.
        reason: why there is none, in the same words for all samples alike.
        detail: what was found instead; may be empty.
    """

    location: str
    where: str
    reason: str = ""
    detail: str = ""


# Guid -> the image and the text.
Find = Callable[[str], tuple[Input, Input]]


@dataclass(frozen=True)
class Listing:
    """All that a data set lists.

    Attributes:
        source: the file with the labels, for messages.
        rows: which samples there are, and their labels.
        find: where the image and the text of a sample are; of any guid in `rows` that is safe.
        parts: guid -> `train`, `val` or `test`, where the data set says so.
        modality_labels: guid -> the labels of the text alone and of the image alone, where there are any.
    """

    source: str
    rows: LabelTable
    find: Find
    parts: Mapping[str, str] = field(default_factory=dict)
    modality_labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
