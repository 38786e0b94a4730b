"""Is a corpus fit to train on? `check_corpus` measures every clip and says what is wrong and what to do about it."""

from parlante.data.validation.findings import Finding
from parlante.data.validation.run import Report, check_corpus

__all__ = ["Finding", "Report", "check_corpus"]
