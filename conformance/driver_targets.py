"""What a driver's tests connect to: a throw-away PostgreSQL, alone or behind Stent or PgBouncer.

Every start is a new cluster on ports of its own, so no run sees what another left. In transaction mode
background clients take and return servers of the tests' own pool all the time: with one client open, a
pooler gives the same server back each time and nothing can go wrong.
"""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

TARGETS = ("direct", "stent-session", "stent-transaction", "pgbouncer-session", "pgbouncer-transaction")
POOL_SIZE = {"session": 100, "transaction": 8}
BACKGROUND_CLIENTS = 8
START_SECONDS = 30
# The password of everyone else, where a run asks for passwords.
SECRET = "secret"
# Users that always have one, with how the server asks for it.
USERS = {
    "postgres": ("trust", SECRET),
    "postgres_js_test": ("trust", SECRET),
    "pass_user": ("scram-sha-256", "password"),
    "md5_user": ("md5", "password"),
    "scram_user": ("scram-sha-256", "password"),
    "postgres_js_test_md5": ("md5", "postgres_js_test_md5"),
    "postgres_js_test_scram": ("scram-sha-256", "postgres_js_test_scram"),
    "scram_test": ("scram-sha-256", "test4scram"),
    "scram_unicode_test": ("scram-sha-256", "IX-\u2168"),
}
# Longer than the steps of a test, shorter than the steps' time-outs.
BACKGROUND = """BEGIN;
SELECT 1;
\\sleep 2 ms
END;
\\sleep 3 ms
"""


class Target:
    """One running target; a context manager. `port` is where clients connect."""

    def __init__(self, name, suite, logs, passwords):
        self.name = name
        self.suite = suite
        self.database = suite.database
        self.logs = logs
        self.passwords = passwords
        self.pooler, _, self.mode = name.partition("-")
        self.children = []

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stent-drivers-"))
        self.folder.chmod(0o755)
        try:
            self.server_port, self.admin_port = free_ports(2)
            self.port = self.suite.port
            if self.pooler == "direct":
                self.server_port = self.port
            self.start_cluster()
            if self.pooler == "stent":
                self.start_stent()
            if self.pooler == "pgbouncer":
                self.start_pgbouncer()
            if self.mode == "transaction":
                self.start_background()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        unprivileged([postgres_program("pg_ctl"), "-s", "-m", "immediate", "-D", self.folder / "data", "stop"],
                     check=False)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, self.logs / f"{self.name}-{log.name}")
        shutil.rmtree(self.folder)

    def start_cluster(self):
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        data = self.folder / "data"
        unprivileged(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                      "-keyout", self.folder / "tls.key", "-out", self.folder / "tls.crt"])
        unprivileged([postgres_program("initdb"), "-D", data, "-A", "trust", "-N", "-U", "postgres",
                      "--locale=C.UTF-8", "-E", "UTF8"])
        with open(data / "postgresql.conf", "a") as file:
            file.write(f"port = {self.server_port}\nunix_socket_directories = '{self.folder}'\nfsync = off\n"
                       "max_connections = 300\nmax_prepared_transactions = 20\njit = off\n"
                       # Whole seconds, so that a slow machine is seen as slow and not as wrong.
                       "log_min_duration_statement = 1000\nwal_level = logical\nssl = on\n"
                       f"ssl_cert_file = '{self.folder}/tls.crt'\nssl_key_file = '{self.folder}/tls.key'\n")
        rest = "scram-sha-256" if self.passwords else "trust"
        rules = [("pass_user", "password"), *((user, how) for user, (how, _) in USERS.items() if how != "trust")]
        (data / "pg_hba.conf").write_text(
            "local all all trust\n" + "".join(f"host all {user} all {how}\n" for user, how in [*rules, ("all", rest)])
            + f"host replication all all {rest}\n")
        unprivileged([postgres_program("pg_ctl"), "-s", "-w", "-D", data, "-l", self.folder / "postgres.log", "start"])
        for user, (kind, secret) in USERS.items():
            kind = "md5" if kind == "md5" else "scram-sha-256"
            what = "ALTER" if user == "postgres" else "CREATE"
            self.sql("postgres", f"SET password_encryption = '{kind}'; {what} ROLE {user} LOGIN PASSWORD '{secret}'")
        if self.database != "postgres":
            self.sql("postgres", f"CREATE DATABASE {self.database}")
        self.sql("postgres", self.suite.sql())

    def sql(self, database, text):
        """Straight to the server, past the pooler."""
        subprocess.run([postgres_program("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder),
                        "-p", str(self.server_port), "-U", "postgres", database],
                       input=text, text=True, check=True, env=os.environ | {"PGCLIENTENCODING": "UTF8"})

    def users_file(self):
        file = self.folder / "users.txt"
        file.write_text("".join(f'"{u}" "{s}"\n' for u, (_, s) in USERS.items()))
        file.chmod(0o644)
        return file

    def start_stent(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "STENT_"))}
        environment |= {
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{self.server_port}/{self.database}",
            "STENT_POOL_MODE": self.mode,
            "STENT_AUTH_TYPE": "scram-sha-256" if self.passwords else "trust",
            "STENT_AUTH_FILE": str(self.users_file()),
            "STENT_DEFAULT_POOL_SIZE": str(POOL_SIZE[self.mode]),
            "STENT_CLIENT_TLS_SSLMODE": "allow",
            "STENT_CLIENT_TLS_CERT_FILE": str(self.folder / "tls.crt"),
            "STENT_CLIENT_TLS_KEY_FILE": str(self.folder / "tls.key"),
            "STENT_SERVER_TLS_SSLMODE": "disable",
            "STENT_LISTEN_PORT": str(self.port),
            "STENT_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
        }
        self.spawn("stent.log", [program("stent"), "proxy"], environment)
        self.wait_until_ready()

    def start_pgbouncer(self):
        ini = self.folder / "pgbouncer.ini"
        ini.write_text("\n".join((
            "[databases]", f"* = host=127.0.0.1 port={self.server_port} auth_user=postgres", "[pgbouncer]",
            "listen_addr = 127.0.0.1", f"listen_port = {self.port}", "unix_socket_dir =",
            f"pool_mode = {self.mode}", f"auth_type = {'scram-sha-256' if self.passwords else 'trust'}",
            f"auth_file = {self.users_file()}", f"default_pool_size = {POOL_SIZE[self.mode]}",
            "max_client_conn = 1000", "max_prepared_statements = 200",
            "ignore_startup_parameters = extra_float_digits", "client_tls_sslmode = allow",
            f"client_tls_cert_file = {self.folder}/tls.crt", f"client_tls_key_file = {self.folder}/tls.key",
            "server_tls_sslmode = disable", "")))
        self.spawn("pgbouncer.log", as_unprivileged([program("pgbouncer"), ini]))
        self.wait_until_ready()

    def start_background(self):
        script = self.folder / "background.sql"
        script.write_text(BACKGROUND)
        # Begun again every few seconds, for clients whose server a test has killed.
        self.spawn("background.log", ["sh", "-c",
                   'trap \'kill $! 2>/dev/null; exit 0\' TERM; while :; do "$@" & wait $!; done', "background",
                   postgres_program("pgbench"), "-n", "-M", "extended", "-T", "10", "-c", str(BACKGROUND_CLIENTS),
                   "-f", script, "-h", "127.0.0.1", "-p", str(self.port), "-U", self.suite.user, self.database])

    def spawn(self, log, command, environment=None):
        environment = (environment or dict(os.environ)) | {"PGPASSWORD": SECRET}
        with open(self.folder / log, "w") as output:
            self.children.append(subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=self.folder))

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            if self.children[-1].poll() is not None or time.monotonic() > deadline:
                logs = "".join(log.read_text() for log in self.folder.glob(f"{self.pooler}.log"))
                raise SystemExit(f"drivers: {self.name} does not start:\n{logs}")
            time.sleep(0.05)


def unprivileged(command, check=True):
    subprocess.run(as_unprivileged(command), check=check, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")


def as_unprivileged(command):
    """PostgreSQL and PgBouncer refuse to run as root."""
    words = [str(word) for word in command]
    if os.getuid() != 0:
        return words
    return ["setpriv", "--reuid=postgres", f"--regid={pwd.getpwnam('postgres').pw_gid}", "--clear-groups", *words]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def postgres_program(name):
    return pathlib.Path(output("pg_config", "--bindir")) / name


def program(name):
    """$STENT or $PGBOUNCER, else the one that is built or installed; None: there is none."""
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).absolute() / "ci" / name
    return os.environ.get(name.upper()) or (str(built) if built.exists() else shutil.which(name, path=SEARCH))


SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
