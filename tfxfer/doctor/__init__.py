"""The data doctor: what is wrong with a data set, before anything is trained on it.

    from tfxfer.doctor import examine
    found = examine(tfxfer.load("csv:reviews.csv"))
    for finding in found.findings:
        print(finding.severity, finding.sentence)

`CHECKS` is the table of checks; docs/doctor.md says what each one finds and how often it is wrong.
"""

from tfxfer.doctor.checks import CHECKS, Check
from tfxfer.doctor.diagnosis import examine
from tfxfer.doctor.findings import SEVERITIES, Diagnosis, Finding, Row

__all__ = ["CHECKS", "SEVERITIES", "Check", "Diagnosis", "Finding", "Row", "examine"]
