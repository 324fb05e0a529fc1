"""An S3 server on loopback, and what a process needs to use it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def object_store(bucket: str) -> Iterator[Mapping[str, str]]:
    """Run a server that holds an empty bucket; yield what its users have in their environment."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {name.removeprefix("AWS_").lower(): value for name, value in KEYS.items() if "KEY" in name}
        keys = {f"aws_{name}": value for name, value in keys.items()}
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket=bucket)
        yield {**KEYS, "AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}
    finally:
        server.stop()
