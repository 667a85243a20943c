"""Mock recovery: tests of the errors of labels, one by one and jointly.

Stars with known labels are measured. Pulls, ranks, joint distances and expected
coverage show whether the claimed covariances are right.
"""

from sk_payne.abundances import joint_probability
from sk_payne.recovery._calibration import joint_table, rank_table
from sk_payne.recovery._joint_distance import joint_distance
from sk_payne.recovery._mock_recovery import mock_recovery
from sk_payne.recovery._recovery_statistics import recovery_statistics, recovery_table
from sk_payne.recovery._verdict import recovery_verdict

__all__ = [
    "joint_distance",
    "joint_probability",
    "joint_table",
    "mock_recovery",
    "rank_table",
    "recovery_statistics",
    "recovery_table",
    "recovery_verdict",
]
