"""A folder on this machine or on object storage, with the few operations that a clip store needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from parlante.core import InputError, atomic_path


class CannotWrite(InputError):
    """Storage that cannot be written to, or is full: no clip's fault."""


class StorageRoot:
    """`root` is a local path, or a URL that fsspec understands. Names are relative, with slashes."""

    def __init__(self, root: Path | str) -> None:
        self.root = str(root)
        self.local = "://" not in self.root

    def __str__(self) -> str:
        return self.root

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "local": self.local}  # connections are made anew in another process

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        import fsspec

        try:
            filesystem, path = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"cannot open {self.root}: {error}; give a folder or a URL that fsspec can open"
            ) from error
        return filesystem, path.rstrip("/")

    def _name(self, name: str) -> str:
        return f"{self._remote[1]}/{name}"

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or of a part. Raises OSError, FileNotFoundError among them."""
        if not self.local:
            content: bytes = self._remote[0].cat_file(self._name(name), start=start, end=end)
            return content
        with (Path(self.root) / name).open("rb") as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))

    def write(self, name: str, content: bytes) -> None:
        """All of a file at once: it is there whole or not at all. Raises CannotWrite."""
        if self.local:
            try:
                with atomic_path(Path(self.root) / name) as path:
                    path.write_bytes(content)
            except InputError as error:
                raise CannotWrite(str(error)) from error
            return
        try:
            self._remote[0].pipe_file(self._name(name), content)
        except OSError as error:
            raise CannotWrite(f"cannot write {self.root}/{name}: {error}") from error

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write piece by piece. Raises CannotWrite."""
        try:
            if self.local:
                with atomic_path(Path(self.root) / name) as path, path.open("wb") as file:
                    yield file
            else:
                with self._remote[0].open(self._name(name), "wb") as file:
                    yield file
        except OSError as error:
            raise CannotWrite(f"cannot write {self.root}/{name}: {error}") from error

    def exists(self, name: str) -> bool:
        """Whether a file stands there."""
        return (Path(self.root) / name).is_file() if self.local else bool(self._remote[0].exists(self._name(name)))

    def names(self, folder: str) -> list[str]:
        """Names of what a folder holds, sorted; none if it is not there."""
        if self.local:
            path = Path(self.root) / folder
            return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        filesystem = self._remote[0]
        filesystem.invalidate_cache()
        try:
            return sorted(entry.rstrip("/").rpartition("/")[2] for entry in filesystem.ls(self._name(folder), False))
        except FileNotFoundError:
            return []

    def read_all(self, names: list[str]) -> list[bytes]:
        """Many small files, at once where they are far away. Raises OSError."""
        if self.local:
            return [self.read(name) for name in names]
        found = self._remote[0].cat([self._name(name) for name in names]) if names else {}
        return [found[self._name(name)] for name in names]

    def remove(self, name: str) -> None:
        """A file or a folder with all it holds; nothing happens if it is not there."""
        if self.local:
            import shutil

            path = Path(self.root) / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        elif self._remote[0].exists(self._name(name)):
            self._remote[0].rm(self._name(name), recursive=True)

    def zarr(self, name: str, read_only: bool) -> Any:
        """A zarr store below `name`."""
        import zarr

        if self.local:
            return zarr.storage.LocalStore(Path(self.root) / name, read_only=read_only)
        return zarr.storage.FsspecStore.from_url(f"{self.root.rstrip('/')}/{name}", read_only=read_only)
