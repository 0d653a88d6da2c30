package fdscan

// DRM is a graphics device, or one that computes.
var DRM = registerKind(&Kind{
	Name: "drm", Title: "a graphics device", Says: "driver, client and bus address (drm-driver, drm-client-id, drm-pdev)",
	Links: []string{"/dev/dri/*", "/dev/accel/*"},
	tell: func(_ *lister, d *Descriptor) string {
		return sentence(d.detail("drm-driver"), labelled("client", d.detail("drm-client-id")), labelled("at", d.detail("drm-pdev")))
	},
})
