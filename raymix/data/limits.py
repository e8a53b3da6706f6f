"""What reading may cost: sizes that files declare are checked against these before anything is allocated for them.

Memory: a reader holds at most two copies of a block, and beside them `MAX_BYTES` for the one piece that its form of
file does not let it split (an encoded image and its pixels, a Parquet page, an array in Fortran order) and the labels,
one per row. No size is believed that the bytes of the file could not fill.
"""

MAX_BYTES = 2**28
"""Bytes of an encoded image, a Parquet page, an array in Fortran order inside an archive."""
MAX_PIXELS = 2**24
"""Pixels of one image: 4096 x 4096."""
MAX_SIDE = 2**14
"""Pixels of one image's side: some decoders pad whole lines at a time."""
MAX_COLUMNS = 2**20
"""Columns of vectors: as many moments are taken."""
MAX_LABEL = 1000
"""Characters of the name of a class or a column."""
MAX_ROWS = 2**32
"""Rows of one Parquet file: a run of equal values takes a few bytes however long it is."""
MAX_HEADER_BYTES = 2**12
"""Bytes of an npy file's header: it is Python text, which numpy parses whole."""
MAX_SCANS = 100
"""Scans of one JPEG: each passes over all pixels again."""
DEFLATE_RATIO = 1032
"""Deflate cannot compress by a larger factor."""
MAX_EXIF_BYTES = 2**16
"""Bytes of an image's EXIF: each of its entries may claim all of them. A JPEG's segment has no more."""
MAX_TILES, MAX_LAYERS, MAX_LEVELS = 2**12, 64, 10
"""Parts of a JPEG 2000 image: a decoder keeps tables of all of them. Of 4096 x 4096 pixels in 4 channels it took 405 MB
without any, and 540 MB with a few more than these let pass."""
MAX_PRECINCTS = 2**14
"""Of a JPEG 2000 image, in each channel."""
MIN_BLOCK = 4
"""Binary logarithm of the least side of its code-blocks."""
