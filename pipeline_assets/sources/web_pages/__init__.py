"""Reads the landing pages of ads: politely, from public addresses only, without a browser.

Nothing here stores or remembers: what a page said before and what that means is the caller's.
"""

from pipeline_assets.sources.web_pages.content import PageContent
from pipeline_assets.sources.web_pages.hosts import host_name
from pipeline_assets.sources.web_pages.reading import visit_pages
from pipeline_assets.sources.web_pages.visits import PageState, PageVisit

__all__ = ["PageContent", "PageState", "PageVisit", "host_name", "visit_pages"]
