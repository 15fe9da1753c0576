-- A unique id in each path: thread and number. wrk -s unique.lua URL [-- MILLISECONDS of pause before each request]
local threads = 0

function setup(thread)
	thread:set("id", threads)
	threads = threads + 1
end

function init(args)
	number = 0
	local pause = tonumber(args[1])
	if pause then
		delay = function()
			return pause
		end
	end
end

function request()
	number = number + 1
	return wrk.format("GET", string.format("/r/wrk-%d-%d", id, number))
end
