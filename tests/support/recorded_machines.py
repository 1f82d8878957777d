"""Files of /proc and /sys from real machines, name -> text; only figures are changed."""

from __future__ import annotations

from pathlib import Path

INA = "sys/bus/i2c/drivers/ina3221"

ORIN_NANO = {  # JetPack 6, one INA3221 whose first channel is the module's input
    f"{INA}/1-0040/name": "ina3221\n",
    f"{INA}/1-0040/hwmon/hwmon1/name": "ina3221\n",
    f"{INA}/1-0040/hwmon/hwmon1/in1_label": "VDD_IN\n",
    f"{INA}/1-0040/hwmon/hwmon1/in1_input": "4936\n",
    f"{INA}/1-0040/hwmon/hwmon1/curr1_input": "944\n",
    f"{INA}/1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    f"{INA}/1-0040/hwmon/hwmon1/in2_input": "4928\n",
    f"{INA}/1-0040/hwmon/hwmon1/curr2_input": "112\n",
    f"{INA}/1-0040/hwmon/hwmon1/in3_label": "VDD_SOC\n",
    f"{INA}/1-0040/hwmon/hwmon1/in3_input": "4928\n",
    f"{INA}/1-0040/hwmon/hwmon1/curr3_input": "296\n",
    f"{INA}/1-0040/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    f"{INA}/1-0040/hwmon/hwmon1/in7_input": "1352\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit "
    "Super\x00",
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL "
    "ID=2 NAME=MAXN_SUPER >\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, "
    "EABI: aarch64, DATE: Wed\n",
    "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\x00",
    "sys/class/devfreq/17000000.gpu/device/load": "620\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "612000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1728000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000\n",
    "sys/class/thermal/thermal_zone0/temp": "47875\n",
    "sys/class/thermal/thermal_zone3/temp": "-256000\n",
}

AGX_ORIN = {  # two INA3221, no input rail, channels that are not connected
    f"{INA}/1-0040/name": "ina3221\n",
    f"{INA}/1-0040/hwmon/hwmon3/in1_label": "VDD_GPU_SOC\n",
    f"{INA}/1-0040/hwmon/hwmon3/in1_input": "5000\n",
    f"{INA}/1-0040/hwmon/hwmon3/curr1_input": "1000\n",
    f"{INA}/1-0040/hwmon/hwmon3/in2_label": "VDD_CPU_CV\n",
    f"{INA}/1-0040/hwmon/hwmon3/in2_input": "5000\n",
    f"{INA}/1-0040/hwmon/hwmon3/curr2_input": "400\n",
    f"{INA}/1-0040/hwmon/hwmon3/in3_label": "VIN_SYS_5V0\n",
    f"{INA}/1-0040/hwmon/hwmon3/in3_input": "5000\n",
    f"{INA}/1-0040/hwmon/hwmon3/curr3_input": "600\n",
    f"{INA}/1-0041/name": "ina3221\n",
    f"{INA}/1-0041/hwmon/hwmon4/in1_label": "NC\n",
    f"{INA}/1-0041/hwmon/hwmon4/in1_input": "0\n",
    f"{INA}/1-0041/hwmon/hwmon4/curr1_input": "0\n",
    f"{INA}/1-0041/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO\n",
    f"{INA}/1-0041/hwmon/hwmon4/in2_input": "5000\n",
    f"{INA}/1-0041/hwmon/hwmon4/curr2_input": "200\n",
}

JETSON_NANO = {  # JetPack 4: the driver of Jetson Linux 32, milliwatts ready-made
    f"{INA}x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    f"{INA}x/6-0040/iio:device0/in_power0_input": "2012\n",
    f"{INA}x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    f"{INA}x/6-0040/iio:device0/in_power1_input": "80\n",
    f"{INA}x/6-0040/iio:device0/rail_name_2": "POM_5V_CPU\n",
    f"{INA}x/6-0040/iio:device0/in_power2_input": "402\n",
}

LAPTOP = {  # Intel, on battery
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "5000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "3000000\n",
    "sys/class/powercap/intel-rapl:1/name": "psys\n",
    "sys/class/powercap/intel-rapl:1/energy_uj": "9000000\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/BAT0/power_now": "8500000\n",
}

SERVER = {  # two packages with DRAM counters
    f"sys/class/powercap/intel-rapl:{package}{zone}/{file}": text
    for package in (0, 1)
    for zone, name, count in (
        ("", f"package-{package}", "1000000"),
        (f":{package}", "dram", "500000"),
    )
    for file, text in (("name", name), ("energy_uj", count), ("max_energy_range_uj", "65532610987"))
}

RASPBERRY_PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\x00",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\n\nModel\t\t: Raspberry Pi "
    "5 Model B Rev 1.0\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/thermal/thermal_zone0/temp": "81500\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
}

ORIN_NANO_LINE = (
    "09-17-2026 02:10:16 RAM 1483/7620MB (lfb 105x4MB) SWAP 253/12002MB (cached 2MB) "
    "CPU [0%@729,0%@729,0%@729,off,off,0%@729] GR3D_FREQ 62%@612 cpu@47.75C soc2@46.718C "
    "gpu@50C tj@50C "
    "VDD_IN 4541mW/4600mW VDD_CPU_GPU_CV 521mW/530mW VDD_SOC 1446mW/1473mW"
)
ORIN_NX_LINE = (
    "RAM 1224/15368MB (lfb 8x4MB) SWAP 0/7684MB (cached 0MB) CPU [1%@729,off] EMC_FREQ "
    "0%@2133 GR3D_FREQ 0%@[305] "
    "NVDEC off CPU@43.5C CV0@-256C VDD_IN 4319mW/4319mW"
)
NANO_LINE = (
    "RAM 903/3956MB (lfb 5x1MB) IRAM 0/252kB(lfb 252kB) CPU "
    "[10%@1479,8%@1479,5%@1479,4%@1479] EMC_FREQ 2%@1600 "
    "GR3D_FREQ 99%@921 APE 25 PLL@33C CPU@36.5C PMIC@100C GPU@35C AO@41C POM_5V_IN 4532/3010 "
    "POM_5V_GPU 1200/300"
)


def plant(root: Path, tree: dict[str, str]) -> Path:
    """Writes a tree under ``root``."""
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
