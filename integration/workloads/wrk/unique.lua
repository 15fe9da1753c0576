-- A unique id in each path: thread and number. wrk -s unique.lua URL
local threads = 0

function setup(thread)
	thread:set("id", threads)
	threads = threads + 1
end

function init()
	number = 0
end

function request()
	number = number + 1
	return wrk.format("GET", string.format("/r/wrk-%d-%d", id, number))
end
