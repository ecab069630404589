"""A bundle: a whole replica in files, to carry where no network goes, or to put on a web server.

    bundle = `manifest.cbor` and `segments/<sha-256 in hex>`, in a directory or in a ZIP file without compression

- Segments are named by their hash, so that they can be fetched, resumed and cached by name, and checked before anybody
  looks at a block.
- A bundle proves nothing by itself and needs no signature: every block in it is validated like any other. The manifest
  only tells a reader what there is to fetch, and whether something is missing.

`export_file` and `export_directory` write one, `import_bundle` takes one into a ledger, `fetch_bundle` copies one,
`verify_bundle` tells what one holds without any ledger. They read from a `Source`: `open_bundle` makes one of a file or
a directory, and `medledger.transport.http_bundle.HttpBundle` is one on a web server.
"""

from .exporting import export_directory, export_file
from .fetching import fetch_bundle
from .manifest import MANIFEST_NAME, Manifest, Segment, Span, decode_manifest, encode_manifest
from .progress import Notify, Progress
from .segments import split_segment
from .sources import Source, open_bundle, read_manifest
from .taking import import_bundle
from .verifying import BundleReport, Problem, verify_bundle

__all__ = [
    "MANIFEST_NAME",
    "BundleReport",
    "Manifest",
    "Notify",
    "Problem",
    "Progress",
    "Segment",
    "Source",
    "Span",
    "decode_manifest",
    "encode_manifest",
    "export_directory",
    "export_file",
    "fetch_bundle",
    "import_bundle",
    "open_bundle",
    "read_manifest",
    "split_segment",
    "verify_bundle",
]
