//===- Promises.h - what compiled models keep of promises -------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_PROMISES_H
#define NNOPT_LIB_COMPRESS_PROMISES_H

#include <map>
#include <string>
#include <vector>

namespace nnopt::compress {

/// A choice that was compiled: milliseconds that its options promised, by technique, and those by which its time differs from that
/// of the model without any.
struct Whole {
  std::map<std::string, double> promised;
  double milliseconds;
};

/// By technique, of `names`, the share of its promises that compiled wholes kept: least squares over all of `wholes`. Few measurements
/// tell techniques apart, so each share is drawn to what was kept of all promises together (ridge regression); that is also the share of
/// techniques that no whole has. From 0.05 to 2; 1 without measurements.
std::map<std::string, double> keptPromises(const std::vector<Whole> &wholes, const std::vector<std::string> &names);

} // namespace nnopt::compress

#endif
