"""What pyproject.toml cannot say: the C extension, that it is built against the limited API of CPython 3.11, and that its
sources go along: `aegis bench` builds the engine from them to measure it without Python."""

from setuptools import find_packages, setup

SOURCES = {"native.include": "native/include", "native.src": "native/src"}

setup(
    cffi_modules=["native/build_ffi.py:ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    packages=[*find_packages(include=["aegis_store", "aegis_store.*"]), *(f"aegis_store.bench.{part}" for part in SOURCES)],
    package_dir={f"aegis_store.bench.{part}": place for part, place in SOURCES.items()},
    package_data={
        "aegis_store": ["py.typed", "*.pyi"],
        "aegis_store.bench.rivals": ["*.c", "*.h"],
        "aegis_store.bench.native.include": ["*.h"],
        "aegis_store.bench.native.src": ["*.h", "*.c", "x86/*.c", "arm/*.c"],
    },
)
