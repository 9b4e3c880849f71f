-- The file's process crashes.
test("crashes", function()
    os.execute("kill -SEGV $PPID")
    provium.sleep(60)
end)
