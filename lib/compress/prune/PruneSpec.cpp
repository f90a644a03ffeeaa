//===- PruneSpec.cpp - what --prune=structured asks for ---------------------===//

#include "lib/compress/prune/PruneSpec.h"
#include "lib/compress/Technique.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

namespace nnopt::compress {

std::string PruneSpec::parse(llvm::StringRef text) {
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, ',');
  std::optional<double> asked = percentOf(parts[0].trim());
  if (!asked || !(*asked > 0 && *asked < 1))
    return "expected structured:SHARE% with a share of the multiply-adds between 0 and 100, as "
           "structured:25%, not '" +
           parts[0].str() + "'";
  share = *asked;
  for (llvm::StringRef part : llvm::drop_begin(parts)) {
    auto [key, setting] = part.trim().split('=');
    if (key == "criterion") {
      criterion = findCriterion(setting);
      std::vector<std::string> names;
      for (const Criterion &c : criteria())
        names.push_back(c.name);
      if (!criterion)
        return "there is no criterion '" + setting.str() + "'; there are " +
               llvm::join(names, ", ");
    } else if (key == "steps") {
      if (setting.getAsInteger(10, steps) || steps < 1 || steps > 100)
        return "steps=" + setting.str() + ": expected a number from 1 to 100";
    } else {
      return "'" + part.str() + "': expected criterion=NAME or steps=N";
    }
  }
  return "";
}

double PruneSpec::shareAfter(int64_t step) const {
  return share * (1 - std::pow(1 - double(step) / double(steps), 3));
}

} // namespace nnopt::compress
