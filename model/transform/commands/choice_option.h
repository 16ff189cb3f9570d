#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/choice.h"
#include "base/error_text.h"

namespace peerage::transform {

// "f32|bf16", for help and completion.
template <typename T, size_t kCount>
std::string Words(const Choice<T> (&choices)[kCount]) {
  std::string words;
  for (const Choice<T>& choice : choices) {
    absl::StrAppend(&words, words.empty() ? "" : "|", choice.name);
  }
  return words;
}

// Adds an option that takes the names of the choices and nothing else; what `value` holds is the
// default. (CLI11's own transformers would take the numbers behind the names, too.)
// Ownership: choices and value must outlive the app.
template <typename T, size_t kCount>
CLI::Option* AddChoice(CLI::App& app, const std::string& option, const Choice<T> (&choices)[kCount],
                       T& value) {
  return app
      .add_option_function<std::string>(
          option,
          [&choices, &value](const std::string& name) { value = *FindChoice(choices, name); })
      ->check([&choices](const std::string& name) {
        if (FindChoice(choices, name).has_value()) return std::string();
        return absl::StrCat(Quoted(name), " is not ", ChoiceNames(choices));
      })
      ->type_name(Words(choices))
      ->default_str(std::string(ChoiceName(choices, value)));
}

}  // namespace peerage::transform
