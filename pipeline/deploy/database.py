"""The throwaway PostgreSQL with which services are tested and rehearsed."""

import dagger
from dagger import dag

NAME = "slipway"


def database(image: str) -> dagger.Container:
    """Return a PostgreSQL without a password, which only its private network reaches."""
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
