"""Tests of the plugin without a server: `python3 -m unittest`, or pytest."""

import unittest

from elita_plugin.testing import Host, NoHost  # before the plugin

import plugin
from componentize_py_types import Err


class WidgetsTest(unittest.TestCase):
    def test_says_how_far_it_is(self) -> None:
        host = Host().application("my_application")
        result = host.action(plugin.plugin, "my_application", "DeleteWidgets", testing=True, count=10)
        self.assertEqual(result, {"application": "my_application", "deleted": 0, "testing": True})
        self.assertEqual([entry["progress"] for entry in host.entries], [0, 45, 100])
        self.assertEqual(host.log[0], ("debug", "would delete widget 1"))

    def test_stops_when_asked_to(self) -> None:
        host = Host().application("my_application").cancelled()
        with self.assertRaises(Err) as failed:
            host.action(plugin.plugin, "my_application", "DeleteWidgets", testing=False, count=1)
        self.assertEqual(failed.exception.value.message, "stopped before widget 1")

    def test_declares_a_build(self) -> None:
        host = Host().build("my_application", "124-master", master=b"an archive")
        host.upload(plugin.plugin, "my_application", "124-master")
        self.assertEqual(host.entries, [{"status": "declared", "build": "124-master"}])

    def test_a_call_of_the_host_without_one_says_so(self) -> None:
        with self.assertRaisesRegex(NoHost, "log.write is a function of the host"):
            plugin.delete_widget(1)


if __name__ == "__main__":
    unittest.main()
