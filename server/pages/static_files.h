#pragma once

#include "server/http/admin_server.h"

namespace peerage {

// Adds the pages for people: /experts and /playground, and below /pages/ the files that they are
// made of. They ask nobody but this server for anything, and hold no script or style in themselves:
// browsers are told to refuse both.
void AddStaticFiles(AdminServer& server);

}  // namespace peerage
