from tui.pulse import Pulse


def test_nothing_is_known_before_the_gate_has_spoken():
    pulse = Pulse(100.0)
    assert pulse.status(0.0) is None
    assert pulse.gone == (100.0, "connecting")


def test_a_status_is_believed_for_three_seconds():
    pulse = Pulse(100.0)
    pulse.hear({"state": "ENFORCING"}, 10.0, 200.0)
    assert pulse.status(13.0) == {"state": "ENFORCING"}
    assert pulse.status(13.1) is None
    assert pulse.gone == (200.0, "it has stopped answering")


def test_only_the_first_loss_tells_since_when():
    pulse = Pulse(100.0)
    pulse.hear({}, 10.0, 200.0)
    pulse.lose("gone", 201.0)
    pulse.lose("refused", 250.0)
    assert pulse.status(10.0) is None
    assert pulse.gone == (201.0, "refused")


def test_a_child_that_fails_is_said_once_with_its_remedy():
    def told(reason):
        return {"children": {"dnsmasq": {"state": "up", "reason": "", "remedy": ""}, "hostapd": {"state": "failed" if reason else "up", "reason": reason, "remedy": "do this"}}}

    pulse = Pulse(100.0)
    assert pulse.fell(told("no radio")) == "hostapd: no radio. do this"
    pulse.hear(told("no radio"), 10.0, 200.0)
    assert pulse.fell(told("no radio")) == ""
    assert pulse.fell(told("busy")) == "hostapd: busy. do this"
    assert pulse.fell(told("")) == pulse.fell({}) == ""


def test_what_to_connect_a_phone_to():
    pulse = Pulse(100.0)
    assert pulse.network == "the network behind the gate"
    pulse.hear({"lan": "lan0", "network": ""}, 10.0, 200.0)
    assert pulse.network == "the network behind lan0"
    pulse.hear({"lan": "consentry0", "network": "home\u202e"}, 10.0, 200.0)
    assert pulse.network == "home‹U+202E›"
