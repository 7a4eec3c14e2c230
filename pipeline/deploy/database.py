"""The PostgreSQL beside which services are tested and rehearsed. It holds nothing that anyone would miss."""

import dagger
from dagger import dag

NAME = "slipway"


def database(image: str) -> dagger.Container:
    """Return a PostgreSQL that any user of its private network may enter: it has no password to leak."""
    return (
        dag.container()
        .from_(image)
        .with_env_variable("POSTGRES_USER", NAME)
        .with_env_variable("POSTGRES_DB", NAME)
        .with_env_variable("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_exposed_port(5432)
    )


def database_url(host: str) -> str:
    """Return the address of that database, as services read it from DATABASE_URL."""
    return f"postgres://{NAME}@{host}:5432/{NAME}"
