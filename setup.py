"""Installs profilecast: the command, the packages, the example."""

from setuptools import find_packages, setup

setup(
    name="profilecast",
    version="0.1.0",
    description="Keeps marketing tools in step with what is known about customers.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline*", "transforms*", "schemas*", "sandbox*", "examples*"]),
    package_data={
        "examples.cdnow": ["*.gz", "*.yaml"],
        "pipeline.status_page": ["*.html", "*.css", "*.js", "*.svg"],
    },
    entry_points={"console_scripts": ["profilecast = pipeline.__main__:main"]},
    # Ranges that are known to work; constraints.txt has the one set that every script installs and tests.
    install_requires=[
        "apache-beam>=2.77,<3",
        "aiohttp>=3.11,<4",
        "cryptography>=43",  # private keys, in transcripts and the sandbox; PyJWT brings it too
        "fastavro[codecs]>=1.13,<2",  # the codecs: snappy, zstandard, lz4
        "jinja2>=3.1,<4",
        "msgspec>=0.20,<1",
        "phonenumbers>=9,<10",
        "prometheus-client>=0.21,<1",
        "pyarrow>=18",
        "PyJWT[crypto]>=2.9,<3",
        "PyYAML>=6,<7",
        "requests>=2.32,<3",
        "rich>=14",
        "urllib3>=2,<3",
        "uvloop>=0.23,<1",  # before, a connect that was cancelled could close another connection's socket
        "yarl>=1.18,<2",
    ],
    extras_require={
        # s3://, and destinations at AWS; older ones do not heed AWS_ENDPOINT_URL
        "aws": ["apache-beam[aws]>=2.77,<3", "boto3>=1.34,<2", "botocore>=1.34,<2"],
        "gcp": ["apache-beam[gcp]>=2.77,<3"],  # gs://
        "kafka": ["confluent-kafka>=2.10,<3"],  # run --streaming, publish, send
        "tables": [
            "duckdb>=2,<3",
            "sqlalchemy>=2,<3",
        ],  # sources; a database needs its driver too, as below
        "postgres": ["profilecast[tables]", "psycopg[binary]>=3.2,<4"],
        "snowflake": ["profilecast[tables]", "snowflake-sqlalchemy>=1.7"],
        "bigquery": ["profilecast[tables]", "sqlalchemy-bigquery>=1.12"],
        "traces": ["opentelemetry-sdk>=1.27,<2", "opentelemetry-exporter-otlp-proto-http>=1.27,<2"],
        # make docs; pymdown-extensions 13 refuses Python 3.11.0 to 3.11.4, and Debian 12 has 3.11.2
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "pymdown-extensions<13"],
        "dev": [
            "apsw>=3.46",  # SQLite on a disk of our own, for the tests of a power cut
            "apache-beam[aws]>=2.77,<3",
            "boto3>=1.34,<2",
            "botocore>=1.34,<2",
            "confluent-kafka>=2.10,<3",
            "duckdb>=2,<3",
            "flask-cors>=5",  # it and flask: what moto's server wants of its own extra, which brings much more
            "flask>=3,<4",
            "grpcio>=1.60,<2",  # an engine's state service, as Beam has it
            "hypothesis>=6.100,<7",
            "jsonschema>=4.23,<5",
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.5,<10",
            "psycopg[binary]>=3.2,<4",
            "pymdown-extensions<13",
            "moto[s3]>=5,<6",
            "mypy>=2",
            "opentelemetry-exporter-otlp-proto-http>=1.27,<2",
            "opentelemetry-sdk>=1.27,<2",
            "pytest>=9",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17",
            "selenium>=4.25,<5",  # the status page in a browser
            "sqlalchemy>=2,<3",
            "trustme>=1.2,<2",
            "types-PyYAML",
            "types-requests",
        ],
    },
)
