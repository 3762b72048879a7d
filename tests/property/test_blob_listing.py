"""Our reading of a listing of blobs is that of the library, field for field, whatever the answer holds."""

from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape, quoteattr

import pytest
from azure.core.exceptions import AzureError, DecodeError
from azure.storage.blob.aio import BlobServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.adapters.azure.blob_listing import list_blobs, parse_page
from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.transport import StorageTransport
from sync.errors import SourceUnavailable
from tests.property import examples
from tests.simulation.gateway.blob_service import URL, BlobSession
from tests.simulation.gateway.lies import Answer
from tests.simulation.gateway.virtual_time import run

IN_XML = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
NAMES = st.text(IN_XML | st.sampled_from("&<>\"'%/ +\t"), min_size=1, max_size=20)
TAGS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
MORE_PROPERTIES = (
    "<Content-Type>application/dicom</Content-Type>",
    "<Content-MD5 />",
    "<CopyStatus>pending</CopyStatus>",
    "<LeaseState>leased</LeaseState>",
    "<AccessTier>Archive</AccessTier>",
    "<ResourceType>file</ResourceType>",
    "<Invented>yes</Invented>",
)
MORE_PARTS = (
    "<Deleted>true</Deleted>",
    "<Snapshot>2026-03-04T05:06:07.0000000Z</Snapshot>",
    "<VersionId>2026-03-04T05:06:07.0000000Z</VersionId><IsCurrentVersion>true</IsCurrentVersion>",
    "<OrMetadata />",
    "<Invented><Name>other</Name></Invented>",
)


@st.composite
def names(draw):
    name = draw(NAMES)
    if draw(st.booleans()):
        return f"<Name>{escape(name)}</Name>"
    encoded = quote(name + draw(st.sampled_from(["", "\ufffe", "\x01"])), safe=draw(st.sampled_from(["", "/"])))
    return f"<Name Encoded={quoteattr(draw(st.sampled_from(['true', 'false'])))}>{encoded}</Name>"


@st.composite
def metadata(draw):
    entries = draw(st.dictionaries(TAGS, st.text(IN_XML, max_size=10), max_size=3))
    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in entries.items())
    return draw(st.sampled_from(["", "<Metadata />", f"<Metadata>{inner}</Metadata>"]))


@st.composite
def blobs(draw):
    properties = [
        f"<Last-Modified>{format_datetime(draw(TIMES), usegmt=draw(st.booleans()))}</Last-Modified>",
        f"<Content-Length>{draw(st.integers(0, 2**50))}</Content-Length>",
        "<BlobType>BlockBlob</BlobType>",
        draw(st.sampled_from(["<Etag>0x8D1</Etag>", "<Etag>&quot;0x8D1&quot;</Etag>", "<Etag />", ""])),
        *draw(st.lists(st.sampled_from(MORE_PROPERTIES), unique=True)),
    ]
    parts = [
        draw(names()),
        f"<Properties>{''.join(draw(st.permutations(properties)))}</Properties>",
        draw(metadata()),
        *draw(st.lists(st.sampled_from(MORE_PARTS), unique=True)),
    ]
    return f"<Blob>{''.join(draw(st.permutations(parts)))}</Blob>"


def listing(inner, marker="<NextMarker />", container="dicom"):
    return (
        f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="{URL}/" '
        f'ContainerName="{container}"><Prefix /><Blobs>{inner}</Blobs>{marker}</EnumerationResults>'
    )


@st.composite
def listings(draw):
    inner = draw(st.lists(blobs() | st.just("<BlobPrefix><Name>folder/</Name></BlobPrefix>"), max_size=4))
    marker = draw(st.sampled_from(["<NextMarker />", "<NextMarker>m&amp;2</NextMarker>", ""]))
    return listing("".join(inner), marker, draw(st.sampled_from(["dicom", "other"])))


async def both_readings(text):
    """Return the library's reading of an answer, and ours; an exception in place of what cannot be read."""

    async def send(_asked):
        return Answer(200, {"Content-Type": "application/xml", "x-ms-request-id": "1"}, text.encode())

    transport = StorageTransport(session=BlobSession(send))
    async with BlobServiceClient(URL, transport=transport, retry_total=0) as service:
        client = service.get_container_client("dicom")
        return await tried(library_page(client)), await tried(our_page(client))


async def tried(reading):
    try:
        return await reading
    except (AzureError, ValueError, TypeError, AttributeError, OverflowError) as problem:
        return problem


async def library_page(client):
    pages = client.list_blobs(include=["metadata"]).by_page()
    read = [blob async for blob in await anext(pages)]
    read_blobs = [(b.name, b.etag or "", b.size, b.last_modified.astimezone(UTC), dict(b.metadata or {})) for b in read]
    return pages.container, pages.continuation_token or None, read_blobs


async def our_page(client):
    page = await list_blobs(client, prefix="", marker=None, size=1000)
    read_blobs = [(b.name, b.etag, b.size, b.last_modified, dict(b.metadata)) for b in page.blobs]
    return page.container, page.marker, read_blobs


@settings(max_examples=examples(150), deadline=None)
@given(listings())
def test_every_listing_reads_as_the_library_reads_it(text):
    theirs, ours = run(both_readings(text))
    assert ours == theirs
    assert not isinstance(ours, Exception)


@settings(max_examples=examples(150), deadline=None)
@given(listings(), st.data())
def test_a_listing_that_something_was_cut_from_reads_as_the_library_reads_it_or_not_at_all(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    theirs, ours = run(both_readings(text[:start] + text[end:]))
    assert isinstance(ours, Exception) or isinstance(theirs, Exception) or ours == theirs


BLOB = "<Name>{name}</Name><Properties><Last-Modified>{at}</Last-Modified><Content-Length>{size}</Content-Length>"
RIGHT = {"name": "a", "at": "Thu, 05 Mar 2026 10:00:00 GMT", "size": "5"}


def blob(ending="</Properties>", **values):
    return f"<Blob>{BLOB.format(**{**RIGHT, **values})}{ending}</Blob>"


@pytest.mark.parametrize(
    "inner",
    [
        blob(name=""),
        blob(at=""),
        blob(at="yesterday"),
        blob(at="Thu, 99 Mar 2026 10:00:00 GMT"),
        blob(size=""),
        blob(size="five"),
        blob("<Etag>1</Etag><Etag>2</Etag></Properties>"),
        blob("</Properties><Properties />"),
        "<Blob />",
        "<Blob><Name>a</Name></Blob>",
        "<Blob><Name Encoded='perhaps'>a</Name></Blob>",
        "<Blob><Name>a</Name><Properties /></Blob>",
        "</Blobs><Blobs>",
    ],
)
def test_a_blob_without_what_every_blob_has_is_no_blob(inner):
    assert len(parse_page(fromstring(listing(blob()))).blobs) == 1
    with pytest.raises(ValueError):
        parse_page(fromstring(listing(inner)))


DIRECTORY = "<ResourceType>directory</ResourceType>"


@pytest.mark.parametrize(
    "inner",
    [
        blob(f"{DIRECTORY}</Properties>"),
        f"<Blob><Name>a</Name><Properties>{DIRECTORY}<Etag>1</Etag></Properties></Blob>",
        f"<Blob><Name>a</Name><Properties>{DIRECTORY}<Content-Length /></Properties></Blob>",
    ],
)
def test_a_directory_is_no_blob_and_need_not_look_like_one(inner):
    page = parse_page(fromstring(listing(inner + blob(name="a/b"))))
    assert [listed.name for listed in page.blobs] == ["a/b"]


@pytest.mark.parametrize("text", ["<Error><Code>x</Code></Error>", "<EnumerationResults />"])
def test_what_is_no_list_of_blobs_is_none(text):
    with pytest.raises(ValueError):
        parse_page(fromstring(text))


@pytest.mark.parametrize("entity", ['SYSTEM "file:///etc/hostname"', 'PUBLIC "x" "http://127.0.0.1:9/x"'])
def test_an_entity_from_elsewhere_is_not_fetched(entity):
    text = listing(blob(name="&outside;")).replace("?>", f"?><!DOCTYPE x [<!ENTITY outside {entity}>]>", 1)
    theirs, ours = run(both_readings(text))
    assert isinstance(ours, DecodeError)
    assert isinstance(theirs, DecodeError)


@pytest.mark.parametrize(("prefix", "is_read"), [("", True), ("ct/", True), ("mr/", False)])
def test_a_page_of_another_prefix_is_not_the_one_that_was_asked_for(prefix, is_read):
    async def page():
        async def send(_asked):
            text = listing(blob(name="ct/1"))
            return Answer(200, {"Content-Type": "application/xml", "x-ms-request-id": "1"}, text.encode())

        transport = StorageTransport(session=BlobSession(send))
        async with BlobServiceClient(URL, transport=transport, retry_total=0) as service:
            blobs = AzureBlobs(service, account="memory", containers=["dicom"])
            return await blobs.page("dicom", prefix=prefix)

    if is_read:
        assert [listed.object.name for listed in run(page()).objects] == ["ct/1"]
        return
    with pytest.raises(SourceUnavailable) as caught:
        run(page())
    assert caught.value.code == "source.garbled"
