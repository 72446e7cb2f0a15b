"""The plugin on the host in memory does what it does on a server: `tests/it/languages.rs` has both."""

import unittest

from elita_plugin.testing import Answer, Called, Host  # before the plugin

import plugin
from componentize_py_types import Err
from elita_plugin import Plugin
from wit_world.imports import remote


def full(called: Called) -> Answer:
    return Answer("a\nin\nb c ***\n", exit_code=3) if called.function == "run" else Answer()


class ServersTest(unittest.TestCase):
    def test_works_on_servers(self) -> None:
        host = Host().build("hostile", "one").server("web1", full)
        result = host.action(plugin.plugin, "hostile", "OnServers")
        reports = [["ok", 0, ""], ["ok", 0, ""], ["failed", 3, "a\nin\nb c ***\n"], ["ok", 0, ""]]
        self.assertEqual(result, {"system": ["web1", "unix", "Linux"], "missing": "notfound", "reports": reports})
        functions = [called.function for called in host.called]
        self.assertEqual(functions, ["operating_systems", "create_directory", "push_file", "run", "delete_directory"])
        self.assertEqual(host.called[2].arguments, {"bytes": "a\n", "path": "/opt/foobar/a", "mode": 0o600})
        self.assertEqual(
            host.called[3].arguments,
            {
                "command": ["sh", "-c", "cat a -; echo $A secret; exit 3"],
                "directory": "/opt/foobar",
                "environment": {"A": "b c"},
                "stdin": "in\n",
                "timeout_seconds": 30,
                "secrets": ["secret"],
            },
        )

    def test_a_server_may_not_answer_or_not_be_there(self) -> None:
        host = Host().server("web1", lambda _: Answer.no_response("it cannot be reached")).server("web2")
        [one, other] = host.run(lambda: remote.operating_systems(["web1", "web2"]))
        self.assertEqual([one.os, one.message, other.os], [None, "it cannot be reached", remote.Os.UNIX])
        refused = {("web3",): "does not exist", ("web1", "web1"): "twice", (): "no server"}
        for servers, why in refused.items():
            with self.assertRaises(Err) as failed:
                host.run(lambda: remote.touch(list(servers), "/srv/a"))
            self.assertIn(why, failed.exception.value.value)
        for path in "srv/a", "/srv/../a":
            with self.assertRaises(Err) as failed:
                host.run(lambda: remote.delete_file(["web1"], path))
            self.assertIn("path", failed.exception.value.value)
        host.cancelled()
        with self.assertRaises(Err) as failed:
            host.run(lambda: remote.ping(["web1"], None))
        self.assertIn("asked to stop", failed.exception.value.value)


class DeclarationsTest(unittest.TestCase):
    def test_refuses_two_actions_of_one_name(self) -> None:
        declared = Plugin()
        declared.action("shop", "Close", "Closes")(lambda call: None)
        declared.action("mall", "Close", "Closes")(lambda call: None)
        with self.assertRaisesRegex(ValueError, "`shop` has two actions of the name `Close`"):
            declared.action("shop", "Close", "Closes again")(lambda call: None)


if __name__ == "__main__":
    unittest.main()
