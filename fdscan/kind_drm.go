package fdscan

import "golang.org/x/sys/unix"

// DRM is a graphics device.
var DRM = registerKind(&Kind{
	Name: "drm", Title: "a graphics device", Says: "driver, client and bus address (drm-driver, drm-client-id, drm-pdev)", Of: Character,
	narrows: func(_ *lister, d *Descriptor) bool {
		const major, accelerators = 226, 261
		return unix.Major(d.Number) == major || unix.Major(d.Number) == accelerators
	},
	tell: func(_ *lister, d *Descriptor) string {
		return sentence(d.detail("drm-driver"), labelled("client", d.detail("drm-client-id")), labelled("at", d.detail("drm-pdev")))
	},
})
