"""Where a server listens: on this machine alone unless told, on the first port that is free."""

import errno
import socket

from limbeck.errors import Problem, UserError

HERE = "127.0.0.1"
LOOPBACK = (HERE, "localhost", "::1")
PORTS_TRIED = 20


def free_port(address: str, wanted: int | None, first: int) -> int:
    """Return a port that is free, `first` or a later one. UserError: the one asked for is taken, or no such address."""
    if wanted is not None and not 1 <= wanted <= 65535:
        raise UserError(Problem("--port", f"must be between 1 and 65535, got {wanted}"))
    tried = range(first, first + PORTS_TRIED) if wanted is None else (wanted,)
    for port in tried:
        if _free(address, port):
            return port
    many = f"{tried[0]} to {tried[-1]} are" if wanted is None else f"{wanted} is"
    raise UserError(Problem("--port", f"{many} taken on {address}; give another one"))


def _free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except socket.gaierror:
            raise UserError(Problem("--address", f"no such address: {address}")) from None
        except PermissionError:
            raise UserError(Problem("--port", f"{port} needs more rights; give one above 1023")) from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(Problem("--address", f"{address} is none of this machine's addresses")) from None
            return False
    return True
