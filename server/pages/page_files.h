#pragma once

namespace peerage {

// The files of the /experts page, as they lie beside this header.
extern const char kExpertsHtml[];
extern const char kExpertsCss[];
extern const char kExpertsJs[];

}  // namespace peerage
