"""What there is: organizations, datasets, jobs and consumer pages."""

from fastapi import APIRouter, Request, Response

from pipeline_assets.brands.registry import list_organizations
from pipeline_assets.datasets import DATASETS, JOBS, Dataset, Job, Reader, Source
from pipeline_assets.freshness.pages import Page
from pipeline_assets.web.api.shapes import Listing, Shape
from pipeline_assets.web.context import Web
from pipeline_assets.web.etags import answer_unless_known, tag_of
from pipeline_assets.web.identity import Viewer

router = APIRouter(tags=["catalogue"])


class OrganizationView(Shape):
    """A tenant of the installation."""

    id: str
    name: str


class DatasetView(Shape):
    """One dataset; each brand has its own."""

    key: str
    title: str
    group: str
    source: Source
    """The part of a brand's configuration that it needs."""
    is_fatal: bool
    """Whether its failure fails its whole job."""
    warn_after_seconds: float | None
    fail_after_seconds: float | None
    """The age at which it must not be used any more, unless a brand says otherwise; null: never."""
    upstream: list[str]
    """The datasets that it rests on."""
    readers: list[Reader]
    """The consumer pages that read it."""
    jobs: list[str]
    """The jobs that refresh it."""


class JobView(Shape):
    """A set of datasets that are refreshed together."""

    name: str
    title: str
    datasets: list[str]
    max_runtime_seconds: float
    """A run that takes longer is ended."""
    is_across_brands: bool


class NeedView(Shape):
    """A dataset that a page reads."""

    dataset: str
    max_age_seconds: float | None
    """Null: as old as the brand's own window allows."""
    withhold: bool
    """Whether the page must show nothing without usable data of it."""


class PageView(Shape):
    """A consumer page and what it needs."""

    name: str
    title: str
    is_across_brands: bool
    """Asked about all brands at once, not about one."""
    needs: list[NeedView]


@router.get("/organizations", response_model=Listing[OrganizationView])
def list_my_organizations(request: Request, principal: Viewer, web: Web) -> Response:
    """List the organizations that you may see, by id."""
    mine = principal.organization_ids
    found = [each for each in list_organizations(web.engine) if mine is None or each.id in mine]
    return _catalogue(request, [OrganizationView.model_validate(each) for each in found])


@router.get("/datasets", response_model=Listing[DatasetView])
def list_datasets(request: Request, _: Viewer) -> Response:
    """List every dataset, upstream before downstream."""
    return _catalogue(request, [_dataset(each) for each in DATASETS.values()])


@router.get("/jobs", response_model=Listing[JobView])
def list_jobs(request: Request, _: Viewer) -> Response:
    """List every job."""
    return _catalogue(request, [_job(each) for each in JOBS.values()])


@router.get("/pages", response_model=Listing[PageView])
def list_pages(request: Request, _: Viewer, web: Web) -> Response:
    """List the consumer pages, the installation's own ones included, and what each needs."""
    return _catalogue(request, [_page(each) for each in web.pages.values()])


def _catalogue(request: Request, items: list[Shape]) -> Response:
    content = Listing[Shape](items=items, next_cursor=None).model_dump_json(serialize_as_any=True)
    return answer_unless_known(request, content, tag=tag_of(content.encode()))


def _dataset(dataset: Dataset) -> DatasetView:
    warn_after, fail_after = dataset.warn_after, dataset.fail_after
    return DatasetView(
        key=dataset.key,
        title=dataset.title,
        group=dataset.group,
        source=dataset.source,
        is_fatal=dataset.fatal,
        warn_after_seconds=warn_after.total_seconds() if warn_after else None,
        fail_after_seconds=fail_after.total_seconds() if fail_after else None,
        upstream=list(dataset.upstream),
        readers=list(dataset.readers),
        jobs=[job.name for job in JOBS.values() if dataset.key in job.datasets],
    )


def _job(job: Job) -> JobView:
    return JobView(
        name=job.name,
        title=job.title,
        datasets=list(job.datasets),
        max_runtime_seconds=job.max_runtime.total_seconds(),
        is_across_brands=job.across_brands,
    )


def _page(page: Page) -> PageView:
    needs = [
        NeedView(
            dataset=need.dataset,
            max_age_seconds=need.max_age.total_seconds() if need.max_age else None,
            withhold=need.withhold,
        )
        for need in page.needs
    ]
    return PageView(
        name=page.name, title=page.title, is_across_brands=page.across_brands, needs=needs
    )
