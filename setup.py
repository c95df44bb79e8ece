"""What pyproject.toml cannot say: the C extension, and that it is built against the limited API of CPython 3.11."""

from setuptools import setup

setup(
    cffi_modules=["native/build_ffi.py:ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
