"""Validation of a corpus before training: `check_corpus` measures every clip, says what is wrong and what to do."""

from parlante.data.validation.findings import Finding
from parlante.data.validation.run import Report, check_corpus

__all__ = ["Finding", "Report", "check_corpus"]
