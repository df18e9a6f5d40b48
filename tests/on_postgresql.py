"""Run tests of the consent store on a real PostgreSQL server as well: `make test-postgres`.

Starts a server of its own in a temporary folder, on a Unix socket only, and stops it at the end. Says so and
ends well where PostgreSQL is not installed.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER_USER = "postgres"
SPEED = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"  # the data is thrown away


def find_tools() -> Path | None:
    """Return the folder of initdb and pg_ctl, or `None`."""
    found = shutil.which("pg_ctl")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += [Path(folder) for folder in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    candidates += [Path(folder) for folder in glob.glob("/opt/homebrew/opt/postgresql*/bin")]
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


def as_server_user(command: list[str], folder: Path) -> None:
    """Run a server tool; PostgreSQL refuses to run as root."""
    if os.name == "posix" and os.geteuid() == 0:
        command = ["runuser", "-u", SERVER_USER, "--", *command]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    """Start a server, run pytest with its address, stop the server; return the exit code of pytest."""
    tools = find_tools()
    if tools is None:
        sys.stdout.write("PostgreSQL is not installed: tests on it are skipped (Debian: apt-get install postgresql)\n")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="portrait-anim-pg-"))
    data = folder / "data"
    try:
        if os.name == "posix" and os.geteuid() == 0:
            shutil.chown(folder, SERVER_USER)
        as_server_user(
            [str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", SERVER_USER, "-E", "UTF8", "--no-sync"],
            folder,
        )
        options = f"-k {folder} -c listen_addresses='' -c max_connections=100 {SPEED}"
        start = [str(tools / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start"]
        as_server_user(start, folder)
        try:
            os.chmod(folder, 0o755)  # the socket lies here
            url = f"postgresql+psycopg://{SERVER_USER}@/postgres?host={folder}"
            environment = {**os.environ, "PORTRAIT_ANIM_TEST_POSTGRES": url}
            return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False, env=environment).returncode
        finally:
            as_server_user([str(tools / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests/unit/consent"]))
