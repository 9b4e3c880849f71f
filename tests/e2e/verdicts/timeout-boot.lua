-- options: --timeout 4
provium.create("held"):boot({timeout = 100})
