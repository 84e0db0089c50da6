"""Readings from trees as a Pi, a Jetson, a laptop, a phone and a server show them, and from broken ones."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from accord.files import Disk
from accord.files.memory import MemoryFiles
from edge_sdk.conditions import Conditions
from edge_sdk.readings import Readings

ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
MEMORY = "MemTotal:       447752 kB\nMemFree:         30000 kB\nMemAvailable:   250000 kB\n"
CALM = "some avg10=1.50 avg60=9.00 avg300=0.27 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
UUID = "5a8b0e5c-0000-4000-8000-000000000001"


def route(*interfaces: str) -> str:
    return ROUTE + "".join(f"{name}\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\n" for name in interfaces)


def link(name: str, index: int, uevent: str = "") -> dict[str, str]:
    return {f"sys/class/net/{name}/ifindex": str(index), f"sys/class/net/{name}/uevent": uevent}


def supply(name: str, **files: object) -> dict[str, str]:
    return {f"sys/class/power_supply/{name}/{file}": f"{value}\n" for file, value in files.items()}


def zone(number: int, kind: str, millidegrees: object) -> dict[str, str]:
    folder = f"sys/class/thermal/thermal_zone{number}"
    return {f"{folder}/type": kind, f"{folder}/temp": f"{millidegrees}\n"}


def profile(metered: str | None) -> dict[str, str]:
    said = "" if metered is None else f"metered={metered}\n"
    return {
        "run/NetworkManager/devices/3": f"[device]\nmanaged=true\nconnection-uuid={UUID}\n",
        "etc/NetworkManager/system-connections/other.nmconnection": "[connection]\nuuid=other\nmetered=1\n",
        "etc/NetworkManager/system-connections/home.nmconnection": f"[connection]\nid=home\nuuid={UUID}\n{said}",
        "etc/NetworkManager/system-connections/broken.nmconnection": "not an ini file",
    }


PI = {
    **zone(0, "cpu-thermal", 61_800),
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/net/route": route("wlan0"),
    **link("wlan0", 3, "DEVTYPE=wlan\nINTERFACE=wlan0\n"),
    **profile(None),
    "proc/meminfo": MEMORY,
    "proc/loadavg": "1.40 0.90 0.40 1/123 4567\n",
}
JETSON = {
    **supply("ucsi-source-psy-1-00081", type="USB", online=0, scope="System"),
    **zone(0, "CPU-therm", 48_500),
    **zone(1, "GPU-therm", 46_000),
    **zone(2, "PMIC-Die", 100_000),
    **zone(3, "CV0-therm", ""),
    "proc/net/route": route("eth0"),
    **link("eth0", 2),
    "proc/pressure/cpu": CALM,
    "proc/meminfo": MEMORY,
}
LAPTOP = {
    **supply("BAT0", type="Battery", status="Discharging", capacity=37, present=1),
    **supply("AC", type="Mains", online=0),
    **supply("hidpp_battery_0", type="Battery", scope="Device", status="Full", capacity=5),
    **zone(0, "acpitz", 20_000),
    **zone(1, "x86_pkg_temp", 71_000),
    "proc/net/route": route("wlp2s0"),
    **link("wlp2s0", 3, "DEVTYPE=wlan"),
    **profile("2"),
    "proc/pressure/cpu": CALM,
    "proc/meminfo": MEMORY,
}
PHONE = {
    **supply("battery", type="Battery", status="Charging", capacity=88, temp=312),
    **supply("usb", type="USB", online=1),
    **zone(0, "modem", -274_000),
    **zone(1, "skin", 33_100),
    **zone(2, "off", 0),
    "proc/net/route": route("rmnet_data0"),
    **link("rmnet_data0", 9),
    "proc/meminfo": MEMORY,
}
SERVER = {"proc/net/route": route("eno1"), **link("eno1", 2), "proc/pressure/cpu": CALM, "proc/meminfo": MEMORY}


def read(root: Path, tree: Mapping[str, str]) -> Conditions:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    files = MemoryFiles()
    files.capacity = 8_000_000_000
    return Readings(Path("/"), root, Disk(files))()


def test_a_raspberry_pi_on_wifi(tmp_path: Path) -> None:
    now = read(tmp_path, PI)
    assert (now.charging, now.battery) == (True, 100.0)
    assert (now.connected, now.metered) == (True, False)
    assert now.temperature == 61.8
    assert now.throttled is True
    assert Readings(tmp_path, tmp_path).weak_supply() is True
    assert now.free_memory == pytest.approx(256.0)
    assert now.busy is not None
    assert now.busy < 0.41, "one running task is our own"
    assert (now.free_storage, now.total_storage) == (8_000.0, 8_000.0)


def test_a_jetson_whose_usb_port_is_offline_and_one_sensor_lies(tmp_path: Path) -> None:
    now = read(tmp_path, JETSON)
    assert now.charging is True
    assert now.temperature == 48.5
    assert now.throttled is None
    assert now.busy == pytest.approx(0.015)
    assert (now.connected, now.metered) == (True, False)
    assert Readings(tmp_path, tmp_path).weak_supply() is None


def test_a_laptop_on_battery_with_a_full_mouse(tmp_path: Path) -> None:
    now = read(tmp_path, LAPTOP)
    assert (now.charging, now.battery) == (False, 37.0)
    assert now.temperature == 71.0
    assert now.metered is False
    plugged = read(tmp_path, supply("AC", type="Mains", online=1))
    assert plugged.charging is True


@pytest.mark.parametrize(("said", "means"), [("1", True), ("yes", True), ("2", False), ("0", False), (None, False)])
def test_the_owner_says_whether_a_network_is_metered(said: str | None, means: bool, tmp_path: Path) -> None:
    assert read(tmp_path, LAPTOP | profile(said)).metered is means


def test_a_phone_on_a_mobile_network(tmp_path: Path) -> None:
    now = read(tmp_path, PHONE)
    assert (now.charging, now.battery) == (True, 88.0)
    assert now.temperature == 33.1
    assert (now.connected, now.metered) == (True, True)
    assert read(tmp_path, {"proc/net/route": route("rmnet_data0", "wlan0")}).metered is True
    assert now.busy is None, "Android hides the load"


def test_a_modem_is_metered_by_its_kind_whatever_its_name(tmp_path: Path) -> None:
    tree = {"proc/net/route": route("enx00"), **link("enx00", 4, "DEVTYPE=wwan\n")}
    assert read(tmp_path, tree).metered is True


def test_a_server_without_battery_or_sensors(tmp_path: Path) -> None:
    now = read(tmp_path, SERVER)
    assert (now.charging, now.battery, now.temperature) == (True, 100.0, None)
    assert (now.connected, now.metered) == (True, False)


def test_ipv6_alone_is_a_way_to_a_network(tmp_path: Path) -> None:
    zero, way = "0" * 32, "fe80" + "0" * 28
    lines = [f"{zero} 00 {zero} 00 {way} 00000400 1 0 00450003 {name}" for name in ("lo", "wlan0")]
    tree = {"proc/net/route": ROUTE, **link("wlan0", 3)}
    assert read(tmp_path, tree | {"proc/net/ipv6_route": lines[0]}).connected is False
    assert read(tmp_path, tree | {"proc/net/ipv6_route": "\n".join(lines)}).connected is True


def test_an_empty_tree_is_unknown_and_a_broken_one_too(tmp_path: Path) -> None:
    nothing = Conditions(charging=True, battery=100.0, free_storage=8_000.0, total_storage=8_000.0)
    assert read(tmp_path / "empty", {"x": ""}) == nothing, "no battery is listed: mains"
    broken = {
        "sys/class/power_supply": "not a folder",
        "sys/class/thermal": "not a folder",
        "proc/net/route/x": "a folder",
        "proc/pressure/cpu/x": "a folder",
        "proc/loadavg": "nonsense",
        "proc/meminfo": "MemAvailable: much kB",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "?",
    }
    assert read(tmp_path / "broken", broken) == Conditions(free_storage=8_000.0, total_storage=8_000.0)


def test_a_battery_that_tells_little_is_unknown(tmp_path: Path) -> None:
    now = read(tmp_path, supply("BAT0", type="Battery"))
    assert (now.charging, now.battery) == (None, None)


def test_storage_that_can_not_be_measured_is_unknown(tmp_path: Path) -> None:
    now = Readings(tmp_path / "missing", tmp_path)()
    assert now.free_storage is now.total_storage is None
    here = Readings(tmp_path, tmp_path)()
    assert here.free_storage is not None
    assert here.total_storage is not None
    assert 0 < here.free_storage < here.total_storage


def test_this_machine_can_be_read() -> None:
    now = Readings(Path.cwd())()
    assert now.free_memory is not None
    assert now.free_memory > 10
    assert now.busy is not None
