"""The exception for all expected errors, and how its text is made safe to print."""

import re


class PipelineError(Exception):
    """An expected error, such as a bad file. Its message is one line: WHERE: WHAT (got X). FIX."""


def escape(text: str) -> str:
    r"""Replaces control characters, line breaks and undecodable bytes: \x1b, \n, \udcff."""
    unsafe = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    return re.sub(unsafe, lambda match: match[0].encode("unicode_escape").decode(), text)
