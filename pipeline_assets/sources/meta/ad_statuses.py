"""Every effective status of an ad, for asking Meta for all of them.

Asked without statuses, the `ads` edge leaves archived and deleted ads out, and insights at ad level
leave deleted ones out, while an account's own totals include what they spent.

Source: Meta Marketing API v26.0, "Manage your ad object's status".
"""

AD_STATUSES = (
    "ACTIVE",
    "ADSET_PAUSED",
    "ARCHIVED",
    "CAMPAIGN_PAUSED",
    "DELETED",
    "DISAPPROVED",
    "IN_PROCESS",
    "PAUSED",
    "PENDING_BILLING_INFO",
    "PENDING_REVIEW",
    "PREAPPROVED",
    "WITH_ISSUES",
)
