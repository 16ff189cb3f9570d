#pragma once

#include <string>
#include <vector>

#include "model/transform/upcycle/source_models.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// What the user of a mixture is to know before it is served: raw gates scale it until it is
// trained, and what experts say about themselves that is not the base's. Experts with another
// context length or other tokens at a text's begin and end are no error, because models tuned from
// one base often differ in these, which say nothing about the weights. Precondition: the models fit
// each other (OpenSourceModels).
std::vector<std::string> UpcycleWarnings(const std::vector<SourceModel>& models,
                                         const UpcycleOptions& options);

}  // namespace peerage::transform
