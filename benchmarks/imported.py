"""Print which modules are loaded after an import statement, and how it touched sockets, as JSON."""

import json
import sys

sockets: list[str] = []
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
exec(sys.argv[1])
print(json.dumps({"modules": sorted(sys.modules), "sockets": sockets}))
