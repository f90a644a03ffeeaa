# Component `compiler`: the tools, libnnoptc.so, and what people need who write passes outside of this
# tree: the headers of dialects, passes and libraries, under the paths by which they include each
# other (#include "dialects/nn/NN.h"), and the target nnopt::compiler.
set(headers ${CMAKE_INSTALL_INCLUDEDIR}/nnopt)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/dialects ${CMAKE_SOURCE_DIR}/passes ${CMAKE_SOURCE_DIR}/lib
  DESTINATION ${headers} COMPONENT compiler FILES_MATCHING PATTERN "*.h" PATTERN "*.td")
install(FILES ${CMAKE_SOURCE_DIR}/runtime/format.h DESTINATION ${headers}/runtime COMPONENT compiler)
install(DIRECTORY ${CMAKE_BINARY_DIR}/dialects ${CMAKE_BINARY_DIR}/passes
  DESTINATION ${headers} COMPONENT compiler
  FILES_MATCHING PATTERN "*.h.inc" PATTERN "*.td" PATTERN CMakeFiles EXCLUDE)

target_include_directories(nnoptc INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}> $<INSTALL_INTERFACE:${headers}>)
set_target_properties(nnoptc PROPERTIES EXPORT_NAME compiler)
install(TARGETS nnoptc EXPORT nnoptCompilerTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT compiler)
install(EXPORT nnoptCompilerTargets NAMESPACE nnopt::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nnopt COMPONENT compiler)
