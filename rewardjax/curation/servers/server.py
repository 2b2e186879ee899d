"""What a connection has to know of the server that it asks."""

from typing import Protocol


class Server(Protocol):
    """Whose server it is, and how patiently it is asked: a judge, or an embedder."""

    @property
    def kind(self) -> str:
        """What messages call it."""
        ...

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    @property
    def model(self) -> str:
        """The model's name there."""
        ...

    @property
    def key_env(self) -> str:
        """The environment variable with the API key."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds until a reply is given up."""
        ...

    @property
    def retries(self) -> int:
        """Tries after the first one."""
        ...

    @property
    def max_in_flight(self) -> int:
        """Requests at a time, per server."""
        ...
