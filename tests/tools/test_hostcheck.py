#!/usr/bin/env python3
"""penstock-hostcheck on made-up hosts (--root) and on this one: each warning names a command. usage: test_hostcheck.py HOSTCHECK"""
import json, os, subprocess, sys, tempfile

tool = os.path.abspath(sys.argv[1])
work = tempfile.mkdtemp(prefix="hostcheck-")
failed = []


def check(what, good, got=""):
    if not good:
        failed.append(what)
        print(f"FAILED {what}: {got!r}")


def put(path, text):
    os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
    with open(f"{root}/{path}", "w") as file:
        file.write(text)


def run(*words):
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def findings(*words):
    rc, out, err = run("--json", *words)
    answer = json.loads(out)
    check(f"exit status of {words}", rc == (0 if answer["ready"] else 1), rc)
    for c in answer["checks"]:
        check(f"{c['check']}: a remedy when and only when it warns", c["ok"] == (c["mend"] == ""), c)
    return {c["check"]: c for c in answer["checks"]}


try:
    check("help", run("--help")[0] == 0 and run("--version")[0] == 0)
    check("usage", run("--lcores", "5-2")[0] == 2 and run("word")[0] == 2 and run("--nonsense")[0] == 2)
    here = findings("--dir", work)
    check("twelve checks", len(here) == 12, list(here))
    check("kernel sockets only", "huge pages" not in findings("--kernel", "--dir", work))
    check("no such folder", not findings("--dir", work + "/none")["direct writes"]["ok"])

    root = work + "/good"
    put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n")
    put("sys/kernel/iommu_groups/1/x", "")
    put("sys/bus/pci/drivers/vfio-pci/x", "")
    put("sys/bus/pci/devices/0000:3b:00.0/class", "0x020000\n")
    put("sys/bus/pci/devices/0000:3b:00.0/numa_node", "1\n")
    os.symlink("../../drivers/vfio-pci", root + "/sys/bus/pci/devices/0000:3b:00.0/driver")
    put("sys/devices/system/node/online", "0-1\n")
    put("sys/devices/system/node/node1/cpulist", "4-7\n")
    good = findings("--root", root, "--dir", work, "--lcores", "4-5")
    for name in ("huge pages", "IOMMU", "NIC", "NUMA"):
        check(f"good host: {name}", good[name]["ok"], good[name])
    check("far cores", not findings("--root", root, "--dir", work, "--lcores", "2-5")["NUMA"]["ok"])
    check("another device", not findings("--root", root, "--dir", work, "--device", "0000:99:00.0")["NIC"]["ok"])

    # The disk under the log folder, with an interrupt on core 1.
    st = os.stat(work)
    device = f"{os.major(st.st_dev)}:{os.minor(st.st_dev)}"
    put("sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/x", "")
    os.makedirs(root + "/sys/dev/block")
    os.symlink("../../devices/pci0000:00/0000:00:02.0/virtio1/block/vda", f"{root}/sys/dev/block/{device}")
    put("proc/interrupts", " 36: 0 85250 PCI-MSIX 1-edge virtio1-req.0\n 37: 9 0 PCI-MSIX 1-edge virtio10-req.0\n")
    put("proc/irq/36/effective_affinity_list", "1\n")
    put("proc/irq/37/effective_affinity_list", "0\n")
    near = findings("--root", root, "--dir", work, "--lcores", "1")["interrupts"]
    check("lcore on the disk's core", not near["ok"] and "vda interrupts core 1:" in near["text"] and "irq/36" in near["mend"], near)
    check("lcore on another", findings("--root", root, "--dir", work, "--lcores", "0")["interrupts"]["ok"])

    root = work + "/bad"
    put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n")
    bad = findings("--root", root, "--dir", work)
    check("no huge pages", "vm.nr_hugepages" in bad["huge pages"]["mend"], bad)
    check("no IOMMU", not bad["IOMMU"]["ok"])
finally:
    subprocess.run(["rm", "-rf", work])
print("ok" if not failed else f"{len(failed)} failed")
sys.exit(1 if failed else 0)
