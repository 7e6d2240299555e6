"""A catalogue: one SQLite file with what choosing needs, read by any number of commands while one writes to it."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from platformdirs import user_data_path

from asyncfetch.address import without_credentials
from asyncfetch.catalogue.schema import SCHEMA, VERSION
from asyncfetch.errors import StoreAccessError, StoreBusyError, StoreLayoutError
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from asyncfetch.catalogue.schema import Made, Model

__all__ = ["CatalogueFile", "catalogue_path", "path_in_store"]

#: How long a reader waits for a writer between its pages.
_PATIENCE_S = 30.0
_NAME = "catalogue"
_SUFFIX = ".sqlite"


def catalogue_path(base_url: str) -> Path:
    """Return where the catalogue of a service lies: in the user's folder of data, one file for each address."""
    address = without_credentials(base_url).rstrip("/")
    folder = user_data_path("asyncfetch", appauthor=False)
    if address == Settings().base_url:
        return folder / f"{_NAME}{_SUFFIX}"
    return folder / f"{_NAME}-{re.sub(r'[^A-Za-z0-9.]+', '-', address.partition('://')[2])}{_SUFFIX}"


def path_in_store(location: str | os.PathLike[str]) -> Path:
    """Return where a catalogue lies in a store, which is a directory, or the path itself where it names a file."""
    path = Path(location).expanduser()
    return path / _NAME / f"{_NAME}{_SUFFIX}" if path.is_dir() else path


class CatalogueFile:
    """An open catalogue; use it as a context manager. Its methods can be called on any thread.

    Parameters
    ----------
    path : Path
        The file.
    create : bool
        Make it where there is none, or one of another version.

    Raises
    ------
    StoreAccessError, StoreLayoutError
        There is none, it cannot be opened, or it is another kind of file.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if not (create or path.is_file()):
            raise StoreAccessError(
                f"there is no catalogue at {path}; make one with: asyncfetch catalogue update",
                location=str(path),
            )
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreAccessError(
                f"the catalogue {path} cannot be opened: {error}", location=str(path)
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreLayoutError(
                f"{path} is not a catalogue: {error}; remove it, or name another file", location=str(path)
            ) from error

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            self.path, timeout=_PATIENCE_S, check_same_thread=False, isolation_level=None
        )
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Make the tables where there are none, and refuse what is not ours."""
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        has_tables = bool(self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if version == VERSION:
            return
        if has_tables:
            raise StoreLayoutError(
                f"{self.path} is a catalogue of another version, or another kind of file; remove it, and make it again "
                "with: asyncfetch catalogue update",
                location=str(self.path),
            )
        self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CatalogueFile({str(self.path)!r})"

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises
        ------
        StoreAccessError
            The file cannot be read.
        """
        with self._lock, self._mapped():
            return self._connection.execute(sql, parameters).fetchall()

    def columns_and_rows(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the names of the columns of a query, and its rows."""
        with self._lock, self._mapped():
            cursor = self._connection.execute(sql, parameters)
            return [each[0] for each in cursor.description], cursor.fetchall()

    def names_beginning(self, kind: str, begun: str) -> list[str]:
        """Return some hundred names of genes, products or structures that begin so, whatever their capitals."""
        if kind not in _NAMED:
            return []
        table, column = _NAMED[kind]
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE ? ESCAPE '!' ORDER BY 1 LIMIT 200"  # noqa: S608 - ours
        pattern = begun.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        return [name for (name,) in self.rows(sql, [f"{pattern}%"])]

    def fact(self, name: str) -> str | None:
        """Return what is noted under a name."""
        found = self.rows("SELECT value FROM facts WHERE name = ?", [name])
        return found[0][0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of the block, or nothing.

        Raises
        ------
        StoreBusyError
            Another update is writing.
        """
        with self._lock, self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def note(self, name: str, value: object) -> None:
        """Note a fact, in a transaction; None takes it away."""
        if value is None:
            self._connection.execute("DELETE FROM facts WHERE name = ?", [name])
        else:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [name, str(value)])

    def digests(self, model: Model, ids: Sequence[int]) -> dict[int, str]:
        """Return the digests of those rows that are there."""
        marks = ",".join("?" * len(ids))
        return dict(self.rows(f"SELECT id, digest FROM {model.table} WHERE id IN ({marks})", ids))  # noqa: S608 - ours

    def mark_seen(self, model: Model, ids: Iterable[int], seen: int) -> None:
        """Note that rows are still there, in a transaction."""
        self._connection.executemany(
            f"UPDATE {model.table} SET seen = ? WHERE id = ?",  # noqa: S608 - ours
            [(seen, each) for each in ids],
        )

    def put(self, model: Model, made: list[Made], digest: str, seen: int) -> None:
        """Write a row that is not there and what depends on it, in a transaction."""
        (table, values), *others = made
        for name, row in ((table, values | {"digest": digest, "seen": seen}), *others):
            marks = ",".join("?" * len(row))
            self._connection.execute(
                f"INSERT INTO {name} ({','.join(row)}) VALUES ({marks})",  # noqa: S608 - ours
                list(row.values()),
            )

    def remove(self, model: Model, ids: Iterable[int]) -> None:
        """Take rows and what depends on them away, in a transaction."""
        for row_id in ids:
            self._connection.execute(f"DELETE FROM {model.table} WHERE id = ?", [row_id])  # noqa: S608 - ours
            for table, column in model.dependent:
                kind = f" AND kind = '{_KINDS[model.name]}'" if table == "names" else ""
                self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?{kind}", [row_id])  # noqa: S608 - ours

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            words = f"the catalogue {self.path}: {error}"
            if "locked" in str(error):
                raise StoreBusyError(
                    f"{words}; another update is writing to it", location=str(self.path)
                ) from error
            raise StoreAccessError(words, location=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise StoreLayoutError(
                f"the catalogue {self.path} is damaged: {error}; remove it, and make it again with: "
                "asyncfetch catalogue update",
                location=str(self.path),
            ) from error


_NAMED = {
    "gene": ("genes", "acronym"),
    "product": ("products", "abbreviation"),
    "structure": ("structures", "acronym"),
}
_KINDS = {"Product": "product", "Gene": "gene", "Structure": "structure", "Atlas": "atlas"}
