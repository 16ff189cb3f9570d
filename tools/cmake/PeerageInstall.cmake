# `cmake --install BUILD [--prefix DIR]` and DESTDIR: programs, contract, documents, and what deploy/
# has. Nothing refers to the folder in which it was built. `make package` makes a Debian package of it.
include(GNUInstallDirs)
set(peerage_share ${CMAKE_INSTALL_DATADIR}/peerage)
install(TARGETS peerage-server peerage peerage-model RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_BINARY_DIR}/client/peerage.bash-completion
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME peerage)
install(DIRECTORY proto/peerage DESTINATION ${peerage_share}/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY deploy/prometheus deploy/grafana DESTINATION ${peerage_share}
        PATTERN "*.py" EXCLUDE PATTERN "__pycache__" EXCLUDE)
install(FILES deploy/systemd/peerage.toml DESTINATION ${peerage_share})
install(FILES deploy/systemd/peerage.service DESTINATION lib/systemd/system)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Debian's name, which slim images keep when they leave all other documents out. The typeface of
# pictures is a part of the programs, and its licence wants to be with it.
file(READ LICENSE peerage_copyright)
file(READ /usr/share/doc/fonts-dejavu-core/copyright font_copyright)
file(CONFIGURE OUTPUT copyright CONTENT
     "@peerage_copyright@\n\nThe typeface DejaVu Sans, in which pictures are written:\n\n@font_copyright@" @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN "adr" EXCLUDE)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME peerage)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gRPC server for language models of PEER and BAM layers")
set(CPACK_PACKAGE_CONTACT "Peerage developers")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # the libraries that the programs link, with their versions
if(PEERAGE_CUDA)
  # Programs do not start without CUDA's runtime and cuBLASLt, but from where is the machine's choice:
  # only NVIDIA's archive has packages of them, and the image has the files alone.
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "cuda-cudart-13-0, libcublas-13-0")
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CUDAToolkit_LIBRARY_DIR})  # looked at, not depended on
endif()
set(peerage_scripts ${CMAKE_SOURCE_DIR}/deploy/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${peerage_scripts}/postinst ${peerage_scripts}/prerm ${peerage_scripts}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
