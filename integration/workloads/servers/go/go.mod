module ratatosk.test/server

go 1.22
