"""The drivers' test suites: where each comes from, what it needs, how it runs, how its results are read.

Nothing of them is kept in the tree. Sources are under target/conformance/src/NAME; what is missing there
is cloned at the version below, or taken from the package registry where the package carries its tests.
`run` returns {test: "ok" | "FAILED" | "skipped"}, of all tests or of those named by `only`.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import driver_targets as targets

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")).absolute() / "conformance"
SOURCES = WORK / "src"
VENV = WORK / "venv"
# A test that hangs is a failed test, and the next one is run.
TEST_SECONDS = 30
SUITE_SECONDS = 3600


class Suite:
    """One suite. `database` and `user` are whose pool the background clients share."""

    name = version = origin = ""
    database = "postgres"
    user = "postgres"
    # Each pass runs the tests it selects with or without passwords asked for by the poolers.
    passes = ("trust",)
    port = None

    def __init__(self):
        self.source = SOURCES / self.name

    def prepare(self):
        """Brings source and dependencies; ends the program with what to do where it cannot."""

    def sql(self):
        """Statements run as the superuser in a new cluster."""
        return ""

    def run(self, target, which, log, only=()):
        raise NotImplementedError

    def clone(self):
        if self.source.exists():
            return
        command = ["git", "clone", "--quiet", "--depth", "1", "--branch", self.version, self.origin, self.source]
        if subprocess.run([str(word) for word in command]).returncode:
            shutil.rmtree(self.source, ignore_errors=True)
            sys.exit(f"drivers: put {self.origin} at {self.version} into {self.source}")

    def environment(self, target):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return kept | {"PGHOST": "127.0.0.1", "PGPORT": str(target.port), "PGUSER": self.user,
                       "PGDATABASE": self.database, "PGSSLMODE": "disable"}


class Pytest(Suite):
    requirements = ()
    arguments = ()

    def prepare(self):
        if not (VENV / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip(["install", "pytest", "pytest-timeout", *self.requirements])

    def run(self, target, which, log, only=()):
        report = log.with_suffix(".xml")
        report.unlink(missing_ok=True)
        shutil.rmtree(log.parent / "cache", ignore_errors=True)
        finish([VENV / "bin" / "python", "-P", "-m", "pytest", "-q", f"--timeout={TEST_SECONDS}",
                f"--junitxml={report}", "-o", "junit_family=xunit1", "--tb=native", "-o", f"cache_dir={log.parent}/cache",
                *self.arguments, *map(node_id, only)], self.source, self.environment(target), log)
        return junit(report)


class Asyncpg(Pytest):
    name, version = "asyncpg", "0.32.0"
    origin = "the source package on PyPI"
    requirements = (f"asyncpg=={version}", "distro")
    # The suite's own options, without those that only concern its output.
    arguments = ("-c", "/dev/null", "--rootdir=.", "-o", "testpaths=tests", "--import-mode=importlib")

    def prepare(self):
        super().prepare()
        if not self.source.exists():
            pip(["download", "--no-deps", "--no-binary", ":all:", "--dest", WORK, f"asyncpg=={self.version}"])
            # Without the package beside them, the tests run against the one that is installed.
            unpack(WORK / f"asyncpg-{self.version}.tar.gz", self.source, "asyncpg")


class Psycopg(Pytest):
    name, version = "psycopg", "3.3.4"
    origin = "https://github.com/psycopg/psycopg"
    requirements = (f"psycopg[binary]=={version}", "psycopg-pool", "anyio", "pproxy", "dnspython", "shapely", "numpy")
    # Left out: tests of time, on a machine that is shared with the background clients, and the slow ones
    # (concurrency of the driver itself, type checkers); psycopg_pool, which is another package; CockroachDB.
    arguments = ("-m", "not timing and not slow", "-o", "testpaths=tests", "--import-mode=importlib", "--ignore=tests/pool", "--ignore=tests/crdb",
                 "--ignore=tests/scripts")

    def prepare(self):
        super().prepare()
        self.clone()

    def environment(self, target):
        dsn = f"host=127.0.0.1 port={target.port} user={self.user} dbname={self.database} sslmode=disable"
        plain = {key: value for key, value in super().environment(target).items() if not key.startswith("PG")}
        return plain | {"PSYCOPG_TEST_DSN": dsn, "PSYCOPG_IMPL": "binary"}


class NodePostgres(Suite):
    name, version = "node-postgres", "pg@8.23.0"
    origin = "https://github.com/brianc/node-postgres"
    database = "node_postgres"
    passes = ("trust", "passwords")

    def prepare(self):
        self.clone()
        # pg is plain JavaScript; what it depends on comes from the registry.
        self.package = WORK / "node-postgres"
        if not self.package.exists():
            shutil.copytree(self.source / "packages" / "pg", self.package)
            description = json.loads((self.package / "package.json").read_text())
            keep = ("async", "bluebird", "co", "pg-copy-streams")
            description["devDependencies"] = {name: description["devDependencies"][name] for name in keep}
            (self.package / "package.json").write_text(json.dumps(description))
            npm(self.package)

    def run(self, target, which, log, only=()):
        environment = self.environment(target) | {
            "PGTESTNOSSL": "true",
            "SCRAM_TEST_PGUSER": "scram_test", "SCRAM_TEST_PGPASSWORD": "test4scram",
            "SCRAM_TEST_PGUSER_UNICODE": "scram_unicode_test", "SCRAM_TEST_PGPASSWORD_UNICODE": "IX-\u2168"}
        del environment["PGSSLMODE"]
        results = {}
        # One process a file, as in its Makefile; what fails in a file ends it.
        folder = self.package / "test" / "integration"
        for file in sorted(folder.rglob("*-tests.js")):
            name = str(file.relative_to(folder))
            if ("scram" in name) == (which == "passwords") and (not only or name in only):
                code = finish(["node", file], self.package, environment, log, seconds=TEST_SECONDS)
                results[name] = "FAILED" if code else "ok"
        return results


class PostgresJs(Suite):
    name, version = "postgres.js", "v3.4.9"
    origin = "https://github.com/porsager/postgres"
    database = user = "postgres_js_test"
    passes = ("passwords",)

    def prepare(self):
        self.clone()
        self.package = WORK / "postgres.js"
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(self.source, self.package)
        # Its own harness stops at the first failure, and its preparation is done by sql() below.
        shutil.copy(HERE / "postgresjs_harness.mjs", self.package / "tests" / "test.js")
        shutil.copy(HERE / "postgresjs_bootstrap.mjs", self.package / "tests" / "bootstrap.js")

    def sql(self):
        return ("ALTER DATABASE postgres_js_test OWNER TO postgres_js_test;"
                "GRANT ALL ON DATABASE postgres_js_test TO postgres_js_test;")

    def run(self, target, which, log, only=()):
        environment = self.environment(target) | {
            "ONLY": "\n".join(only),
            "PGUSER": "postgres", "PGDATABASE": "postgres", "PGPASSWORD": targets.SECRET,
            # For what a failed test has left, past the pooler.
            "TIDY_HOST": str(target.folder), "TIDY_PORT": str(target.server_port)}
        finish(["node", "tests/index.js"], self.package, environment, log)
        return lines(log, r"^(ok|FAILED) (line \d+: .*)$")


class TokioPostgres(Suite):
    name = "tokio-postgres"
    origin = "the crate of the version in Cargo.lock"
    passes = ("trust", "passwords")
    # The port is written in the tests; it is replaced by one that is free now.
    port_in_tests = "5433"

    def sql(self):
        return "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree"

    def prepare(self):
        metadata = json.loads(subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"],
                                             cwd=HERE.parent, check=True, capture_output=True).stdout)
        package = next(each for each in metadata["packages"] if each["name"] == "tokio-postgres")
        self.version = package["version"]
        self.package = WORK / "tokio-postgres"
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(pathlib.Path(package["manifest_path"]).parent, self.package)
        with open(self.package / "Cargo.toml", "a") as file:
            file.write("\n[workspace]\n")
        for name in ("main.rs", "runtime.rs"):
            file = self.package / "tests" / "test" / name
            file.write_text(file.read_text().replace(self.port_in_tests, str(self.port)))
        self.command = ["cargo", "test", "--quiet", "--features", "with-uuid-1,with-serde_json-1,array-impls",
                        "--test", "test", "--target-dir", WORK / "tokio-postgres-target"]
        subprocess.run([str(word) for word in [*self.command, "--no-run"]], cwd=self.package, check=True)

    def run(self, target, which, log, only=()):
        finish([*self.command, "--", *(["--exact", *only] if only else []), "--test-threads=1", "--format=pretty"], self.package, dict(os.environ), log)
        found = lines(log, r"^test (\S+) \.\.\. (ok|FAILED|ignored)", name=1)
        asked = re.compile(r"password|^scram|^md5|pass_user")
        return {test: result.replace("ignored", "skipped") for test, result in found.items()
                if bool(asked.search(test)) == (which == "passwords")}


SUITES = {suite.name: suite for suite in (Asyncpg, Psycopg, NodePostgres, PostgresJs, TokioPostgres)}


def finish(command, folder, environment, log, seconds=SUITE_SECONDS):
    """Runs to the end or the limit, appending what it says to the log; the exit code, or 124."""
    with open(log, "a") as output:
        try:
            return subprocess.run([str(word) for word in command], cwd=folder, env=environment, timeout=seconds,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT).returncode
        except subprocess.TimeoutExpired:
            output.write(f"\nnot ended after {seconds} seconds\n")
            return 124


def junit(report):
    if not report.exists():
        return {}
    results = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        results[name] = "FAILED" if failed else "skipped" if "skipped" in kinds else "ok"
    return results


def node_id(name):
    """tests.test_a.TestB::test_c as pytest wants it: tests/test_a.py::TestB::test_c."""
    place, _, test = name.partition("::")
    parts = place.split(".")
    at = next((n for n, part in enumerate(parts) if part[:1].isupper()), len(parts))
    return "::".join(["/".join(parts[:at]) + ".py", *parts[at:], test])


def lines(log, pattern, name=2):
    found = re.findall(pattern, log.read_text(errors="replace"), re.MULTILINE)
    return {match[name - 1]: match[2 - name] for match in found}


def pip(arguments):
    subprocess.run([VENV / "bin" / "pip", *arguments, "--quiet", "--disable-pip-version-check"], check=True)


def npm(folder):
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)


def unpack(archive, into, leave_out):
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", archive, "--strip-components=1", "-C", into], check=True)
    shutil.rmtree(into / leave_out)
