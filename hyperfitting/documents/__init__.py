"""Documents of files, folders and Hub data sets: which files are meant, and the one column that is asked for."""

from .json_rows import Row, json_rows
from .loading import encode_drawn, load_documents

__all__ = ["Row", "encode_drawn", "json_rows", "load_documents"]
