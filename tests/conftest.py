"""What every test shares."""

pytest_plugins = ["pytester", "tests.plugins.lacking", "tests.plugins.postgres", "tests.plugins.valkey"]
