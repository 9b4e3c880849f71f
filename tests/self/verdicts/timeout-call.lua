-- options: --timeout 6
local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
vm:exec("sleep 1000")
